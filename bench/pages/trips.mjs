// Python that does what the bench tells it, and the round trip of a bare WebSocket.
import { loadPyodide } from "/boot.mjs";

window.python = await loadPyodide();
document.body.id = "python";

window.bareTrips = async (count, size) => {
  const wish = JSON.stringify({ op: "dial", id: "bare", target: "echo" });
  const headers = { "content-type": "application/json" };
  const { token } = await (await fetch("/token", { method: "POST", headers, body: wish })).json();
  const socket = new WebSocket("/dial/bare/echo", ["amrpc.v1", `amtok.${token}`]);
  await new Promise((done) => (socket.onopen = done));
  const message = new Uint8Array(size);
  const times = [];
  for (let trip = 0; trip < count; trip++) {
    const begun = performance.now();
    const back = new Promise((done) => (socket.onmessage = done));
    socket.send(message);
    await back;
    times.push(performance.now() - begun);
  }
  socket.close();
  return times;
};
