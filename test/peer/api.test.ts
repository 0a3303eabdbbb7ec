import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

test("what reads nodes and ports is closed to other machines without a password; what agents need is open", async () => {
  const child = fileURLToPath(new URL("api-remote-child.js", import.meta.url));
  const script = 'ip link set lo up && ip address add 10.77.0.1/32 dev lo && exec "$0" "$1" 10.77.0.1';
  const { stdout } = await promisify(execFile)("unshare", ["-n", "sh", "-c", script, process.execPath, child]);
  const answers = JSON.parse(stdout) as { path: string; status: number; authenticate: string | null; body: string }[];
  const status = (start: string): readonly number[] =>
    answers.filter(({ path }) => path.startsWith(start)).map((one) => one.status);
  assert.deepEqual([...status("/v1/nodes"), ...status("/v1/ports")], [401, 401, 401, 401, 401]);
  const refused = answers[0];
  assert.equal(refused?.authenticate, 'Basic realm="Baremetal API"');
  assert.deepEqual(JSON.parse(refused?.body ?? ""), { error: { message: "Authorization required", code: 401 } });
  // The catalogue of this server is empty: 404 comes from behind the door.
  assert.deepEqual(status("/v1/lookup"), [404]);
  assert.equal(answers.at(-1)?.status, 200);
});
