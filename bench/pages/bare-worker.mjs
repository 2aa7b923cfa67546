import { bare } from "./bare-boot.mjs";

await bare();
postMessage("ready");
