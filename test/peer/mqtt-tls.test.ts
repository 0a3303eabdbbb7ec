import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isFault } from "../../src/core/fault.ts";
import { silentLog } from "../../src/core/log.ts";
import { SystemRandom } from "../../src/core/random.ts";
import { Secret } from "../../src/core/secret.ts";
import { seconds } from "../../src/core/units.ts";
import { SiteTransport } from "../../src/cli/site-transport.ts";
import { CertificateAuthority } from "../certificates.ts";
import { Broker } from "./broker.ts";
import { clock, openRack } from "./rack.ts";
import { eventually } from "./site.ts";

/** An authority, a broker's certificate for 127.0.0.1 and a client's, all valid for a day. */
function certificates(directory: string): {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly strangerCa: string;
} {
  const authority = new CertificateAuthority(directory, "ca");
  new CertificateAuthority(directory, "stranger");
  for (const name of ["broker", "rack"]) authority.issue(name, "IP:127.0.0.1");
  const read = (name: string): string => readFileSync(join(directory, name), "utf8");
  return { ca: read("ca.pem"), cert: read("rack.pem"), key: read("rack.key"), strangerCa: read("stranger.pem") };
}

test("rack and site meet over TLS with certificates on both sides; a broker that another authority vouches for is refused", async () => {
  const directory = mkdtempSync(join(tmpdir(), "ironrack-tls-"));
  try {
    const { ca, cert, key, strangerCa } = certificates(directory);
    await using broker = await Broker.start([
      `cafile ${directory}/ca.pem`,
      `certfile ${directory}/broker.pem`,
      `keyfile ${directory}/broker.key`,
      "require_certificate true",
    ]);
    const url = broker.url.replace("mqtt:", "mqtts:");
    const tls = { ca, cert, key: new Secret(key) };
    const { session } = openRack({ server: { url, tls }, log: silentLog });
    await using _session = session;
    session.start();
    await eventually("the rack is connected", () => session.state.connected);
    const random = new SystemRandom();
    const server = { url, clientId: "cli", keepalive_s: 30, sessionExpiry_s: 0, tls };
    await using cli = new SiteTransport({ server, site: "s", rack: "r", clock, random });
    const { signal } = new AbortController();
    assert.deepEqual(await cli.call("node.list", {}, { signal }), { nodes: [] });

    for (const wrong of [{ ...tls, ca: strangerCa }, { ca }]) {
      await using refused = new SiteTransport({
        server: { ...server, clientId: "other", tls: wrong },
        site: "s",
        rack: "r",
        clock,
        random,
      });
      await assert.rejects(
        refused.call("node.list", {}, { signal, timeout: seconds(3) }),
        (error) => isFault(error) && error.kind === "unreachable",
      );
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
});
