import { createServer } from "node:http";
import { parentPort } from "node:worker_threads";

// A chat model that answers after as many milliseconds as its prompt says, in a thread of its own: what it costs is not
// the worker's.

const server = createServer((request, response) => {
  let body = "";
  request.on("data", (bytes) => {
    body += bytes;
  });
  request.on("end", () => {
    const [, ms = "0"] = /wait (\d+)/.exec(body) ?? [];
    setTimeout(() => {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(completion));
    }, Number(ms));
  });
});

const completion = {
  id: "chatcmpl-1",
  object: "chat.completion",
  created: 1,
  model: "double",
  choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: "done" } }],
  usage: { prompt_tokens: 5, completion_tokens: 1, total_tokens: 6 },
};

server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => parentPort?.postMessage(server.address()));
