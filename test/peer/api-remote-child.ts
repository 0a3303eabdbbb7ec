import { FakeClock } from "../../src/core/clock.ts";
import { silentLog } from "../../src/core/log.ts";
import { ApiServer } from "../../src/api/api-server.ts";
import { Catalogue } from "../../src/conductor/catalogue.ts";
import { openMemoryStore } from "../../src/store/memory-store.ts";

/* Runs in a network namespace in which the first argument is an address; prints what a caller with that address gets. */
const [, , address = ""] = process.argv;
const catalogue = new Catalogue({ commands: [], store: openMemoryStore({ clock: new FakeClock() }), log: silentLog });
await using api = new ApiServer({ catalogue, log: silentLog, address, port: 0 });
await api.start();
const answers = [];
for (const path of [
  "/v1/nodes",
  "/v1/nodes/detail",
  "/v1/nodes/x",
  "/v1/ports",
  "/v1/ports/x",
  "/v1/lookup?addresses=52:54:00:00:00:01",
  "/v1",
]) {
  const answer = await fetch(`http://${address}:${api.port}${path}`);
  answers.push({
    path,
    status: answer.status,
    authenticate: answer.headers.get("www-authenticate"),
    body: await answer.text(),
  });
}
process.stdout.write(JSON.stringify(answers));
