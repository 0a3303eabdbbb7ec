import type { IpmiTarget } from "../src/client/ipmi-session.ts";
import { Secret } from "../src/core/secret.ts";

/** A BMC on loopback, with the user that the tests' BMCs know. */
export function ipmiTarget(bmc: { readonly port: number }, change: Partial<IpmiTarget> = {}): IpmiTarget {
  return {
    host: "127.0.0.1",
    port: bmc.port,
    username: "admin",
    password: new Secret("secret"),
    bmcKey: undefined,
    privilege: "ADMINISTRATOR",
    cipherSuites: [17, 3],
    ...change,
  };
}
