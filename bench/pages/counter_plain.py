from pyscript import document, when

count = 0


def show():
    document.getElementById("count").textContent = str(count)


@when("click", "#add")
def add(event):
    global count
    count += 1
    show()


show()
