/** uPlot names its types after another of its builds. */
import uPlot from "../../../web/static/vendor/uplot/uPlot.js";
export default uPlot;
