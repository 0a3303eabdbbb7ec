import { spawn, type ChildProcess } from "node:child_process";
import { createSocket } from "node:dgram";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SystemClock } from "../../src/core/clock.ts";
import { millis } from "../../src/core/units.ts";
import { freeUdpPort } from "../free-port.ts";
import { boundToUs } from "../bound-to-us.ts";

const clock = new SystemClock();

export interface IpmiSimOptions {
  /** Seconds that the machine takes to change its power. */
  readonly powerDelay?: number;
}

/**
 * ipmi_sim (Debian's openipmi), a BMC that others wrote, on loopback with a port of its own; its chassis is a file.
 * Users: admin/secret (administrator), viewer/viewer (user).
 */
export class IpmiSim {
  readonly port: number;
  readonly #directory: string;
  #process: ChildProcess | undefined;

  private constructor(port: number, directory: string) {
    this.port = port;
    this.#directory = directory;
  }

  static async start(options: IpmiSimOptions = {}): Promise<IpmiSim> {
    const sim = new IpmiSim(await freeUdpPort(), mkdtempSync(join(tmpdir(), "ironrack-ipmi-")));
    sim.#configure(options);
    await sim.restart();
    return sim;
  }

  get running(): boolean {
    return this.#process !== undefined;
  }

  get powerOn(): boolean {
    const file = join(this.#directory, "power");
    return existsSync(file) && readFileSync(file, "utf8").trim() === "1";
  }

  setPower(on: boolean): void {
    writeFileSync(join(this.#directory, "power"), on ? "1\n" : "0\n");
  }

  /** ipmi_sim's word for the boot device that was set last. */
  get bootDevice(): string | undefined {
    const file = join(this.#directory, "boot");
    return existsSync(file) ? readFileSync(file, "utf8").trim() : undefined;
  }

  /** What the chassis was told, such as "set power 1", in order. */
  get chassisCalls(): readonly string[] {
    const file = join(this.#directory, "calls");
    return existsSync(file)
      ? readFileSync(file, "utf8")
          .split("\n")
          .filter((line) => line.startsWith("set "))
      : [];
  }

  /** Kills the BMC; its sessions are gone, the machine keeps its power. */
  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined) return;
    const ended = new Promise((done) => child.once("exit", done));
    child.kill("SIGKILL");
    await ended;
  }

  async restart(): Promise<void> {
    await this.kill();
    const at = (name: string): string => join(this.#directory, name);
    const child = spawn(...boundToUs("ipmi_sim", "-n", "-c", at("lan.conf"), "-f", at("bmc.emu"), "-s", at("state")), {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    child.stdout.on("data", (text: Buffer) => (output += text.toString()));
    child.stderr.on("data", (text: Buffer) => (output += text.toString()));
    const failed = new Promise<never>((_, reject) => {
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`ipmi_sim ended with ${code}: ${output}`)));
    });
    failed.catch(() => undefined);
    this.#process = child;
    const answers = async (): Promise<void> => {
      while (!(await pings(this.port))) await clock.sleep(millis(20));
    };
    await Promise.race([answers(), failed]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #configure(options: IpmiSimOptions): void {
    const directory = this.#directory;
    const plain = `echo "$2" >${directory}/$1`;
    const later = `(sleep ${options.powerDelay}; echo "$2" >${directory}/power) >/dev/null 2>&1 &`;
    const store = options.powerDelay === undefined ? plain : `if [ "$1" = power ]; then ${later} else ${plain}; fi`;
    // A soft shutdown is "set shutdown 1": this operating system obeys at once.
    const chassis = `#!/bin/sh
echo "$@" >>${directory}/calls
op=$1; shift
case $op in
get) for key in "$@"; do echo "$key:$(cat ${directory}/$key 2>/dev/null || echo 0)"; done ;;
set) while [ $# -gt 1 ]; do
  if [ "$1" = shutdown ]; then set -- power 0; fi
  ${store}
  shift 2
done ;;
esac
`;
    writeFileSync(join(directory, "chassis"), chassis, { mode: 0o755 });
    writeFileSync(join(directory, "boot"), "none\n");
    writeFileSync(
      join(directory, "lan.conf"),
      `name "peer"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 ${this.port}
    priv_limit admin
    allowed_auths_callback none md5
    allowed_auths_user none md5
    allowed_auths_operator none md5
    allowed_auths_admin none md5
    guid a123456789abcdefa123456789abcdef
  endlan
  chassis_control "${directory}/chassis"
  user 2 true "admin" "secret" admin 10 none md5
  user 3 true "viewer" "viewer" user 10 none md5
`,
    );
    writeFileSync(
      join(directory, "bmc.emu"),
      "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\nsel_enable 0x20 1000 0x0a\nmc_enable 0x20\n",
    );
  }
}

/** Whether somebody on the port answers an RMCP ping. */
async function pings(port: number): Promise<boolean> {
  const socket = createSocket("udp4");
  try {
    return await new Promise<boolean>((done) => {
      socket.on("error", () => done(false));
      socket.on("message", () => done(true));
      socket.connect(port, "127.0.0.1", () => socket.send(Buffer.from("0600ff06000011be80010000", "hex")));
      clock.after(millis(200), () => done(false));
    });
  } finally {
    socket.close();
  }
}
