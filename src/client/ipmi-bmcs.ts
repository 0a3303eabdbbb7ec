import { createHash } from "node:crypto";
import type { IpmiCommand } from "../protocol/ipmi/command.ts";
import { IpmiBmc } from "./ipmi-bmc.ts";
import type { IpmiParts } from "./ipmi-exchange.ts";
import type { IpmiTarget, IpmiWait } from "./ipmi-session.ts";

/** The rack's BMCs, one `IpmiBmc` for each address. */
export class IpmiBmcs implements AsyncDisposable {
  readonly #parts: IpmiParts;
  readonly #bmcs = new Map<string, { readonly bmc: IpmiBmc; readonly login: string }>();

  constructor(parts: IpmiParts) {
    this.#parts = parts;
  }

  /** Sends one request to the BMC; other logins than before replace the kept session. See IpmiBmc.request. */
  async request<Request, Response>(
    target: IpmiTarget,
    command: IpmiCommand<Request, Response>,
    request: Request,
    wait: IpmiWait,
  ): Promise<Response> {
    return await this.#bmc(target).request(command, request, wait);
  }

  #bmc(target: IpmiTarget): IpmiBmc {
    const key = `${target.host.toLowerCase()} ${target.port}`;
    const login = loginOf(target);
    const known = this.#bmcs.get(key);
    if (known?.login === login) return known.bmc;
    if (known !== undefined) void known.bmc.close();
    const bmc = new IpmiBmc(target, this.#parts);
    this.#bmcs.set(key, { bmc, login });
    return bmc;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [...this.#bmcs.values()];
    this.#bmcs.clear();
    await Promise.all(all.map(async ({ bmc }) => await bmc[Symbol.asyncDispose]()));
  }
}

/** A digest of everything that makes a login, so that no secret serves as a key of a map. */
function loginOf(target: IpmiTarget): string {
  const parts = [
    target.username,
    target.password.reveal(),
    target.bmcKey?.reveal() ?? "",
    target.privilege,
    target.cipherSuites.join(","),
  ];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}
