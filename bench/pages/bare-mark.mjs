import { bare } from "./bare-boot.mjs";

await bare();
performance.mark("python ready");
