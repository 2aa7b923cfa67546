from puepy import Application, Page, t

app = Application()


@app.page()
class Counter(Page):
    def initial(self):
        return {"count": 0}

    def populate(self):
        t.button("add", id="add", on_click=self.more)
        t.p(str(self.state["count"]), id="count")

    def more(self, event):
        self.state["count"] += 1


app.mount("#app")
