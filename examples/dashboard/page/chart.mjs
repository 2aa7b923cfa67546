/**
 * `<line-chart points='[[times], [values], …]' labels="waiting, ended">`: what its attributes say, drawn by uPlot.
 * Colours are the page's `--series-1`, `--series-2`, … and follow it into the dark.
 */
import uPlot from "./__release__/vendor/uplot/uPlot.esm.js";

const HEIGHT = 180;

class LineChart extends HTMLElement {
  static observedAttributes = ["points"];

  connectedCallback() {
    this.resized = new ResizeObserver(() => this.plot?.setSize({ width: this.clientWidth, height: HEIGHT }));
    this.resized.observe(this);
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.dark.addEventListener("change", this.renew);
    this.renew();
  }

  disconnectedCallback() {
    this.resized?.disconnect();
    this.dark?.removeEventListener("change", this.renew);
    this.plot?.destroy();
  }

  attributeChangedCallback() {
    this.plot?.setData(this.points);
  }

  get points() {
    return JSON.parse(this.getAttribute("points") || "[[]]");
  }

  renew = () => {
    const style = getComputedStyle(this);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    const labels = (this.getAttribute("labels") ?? "").split(",").map((label) => label.trim());
    const axis = {
      stroke: colour("--quiet"),
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { show: false },
      font: `12px ${style.fontFamily}`,
    };
    const whole = (/** @type {unknown} */ _, /** @type {number[]} */ values) =>
      values.map((value) => (Number.isInteger(value) ? String(value) : ""));
    const clock = (/** @type {unknown} */ _, /** @type {number[]} */ seconds) =>
      seconds.map((second) => new Date(second * 1000).toTimeString().slice(3, 8));
    this.plot?.destroy();
    this.plot = new uPlot(
      {
        width: this.clientWidth,
        height: HEIGHT,
        cursor: { show: false },
        legend: { show: false },
        scales: { y: { range: (_, __, most) => [0, Math.max(4, Math.ceil(most * 1.1))] } },
        axes: [{ ...axis, size: 30, values: clock }, { ...axis, size: 32, values: whole }],
        series: [
          {},
          ...labels.map((label, i) => ({
            label,
            stroke: colour(`--series-${i + 1}`),
            width: 2,
            points: { show: false },
          })),
        ],
      },
      this.points,
      this,
    );
  };
}

customElements.define("line-chart", LineChart);
