import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { SystemClock } from "../../src/core/clock.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { millis, seconds } from "../../src/core/units.ts";
import type { Child, Outcome } from "../rack/child.ts";
import { parseLine } from "../rack/daemon.ts";
import { Enclosure } from "../rack/enclosure.ts";
import type { BootServerOptions } from "./boot-server.ts";

export const SERVER = "10.79.0.1";
export const SERVER_PORT_HTTP = 8080;

/**
 * A wire with our boot services at one end, in namespaces that end with it. Clients run on the side "site", on the
 * interface `eth0` that has no address of its own; machines get taps on the same bridge.
 */
export class BootLab implements AsyncDisposable {
  readonly enclosure: Enclosure;
  readonly directory: string;
  #server: Child;
  readonly #options: BootServerOptions;
  readonly #log: string;
  readonly #clock = new SystemClock();

  private constructor(enclosure: Enclosure, directory: string, options: BootServerOptions) {
    this.enclosure = enclosure;
    this.directory = directory;
    this.#options = options;
    this.#log = join(directory, "server.log");
    this.#server = this.#start();
  }

  #start(): Child {
    const program = resolve(import.meta.dirname, "boot-server.js");
    return this.enclosure.spawn("rack", [process.execPath, program, JSON.stringify(this.#options)], {
      logFile: this.#log,
    });
  }

  /** Ends the server with the signal and starts it again. */
  async restart(signal: NodeJS.Signals): Promise<void> {
    await this.#server.kill(signal);
    await this.#server.ended;
    const before = this.#readyLines();
    this.#server = this.#start();
    await this.logged(() => this.#readyLines() > before);
  }

  #readyLines(): number {
    return this.lines().filter((line) => line["event"] === "test.ready").length;
  }

  static async open(
    changes: Partial<BootServerOptions> & { readonly onDisk?: boolean } = {},
    layout: readonly string[] = [],
  ): Promise<BootLab> {
    const directory = mkdtempSync(join(tmpdir(), "ironrack-boot-"));
    const enclosure = await Enclosure.open(
      [
        "ip link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        `ip addr add ${SERVER}/24 brd + dev br0`,
        "ip link set br0 up",
        "ip link add wire0 type veth peer name eth0 netns site",
        "ip link set wire0 master br0 up",
        "ip -n site link set eth0 address 52:54:00:79:00:01 up",
        ...layout,
      ],
      directory,
    );
    const { onDisk, ...options } = changes;
    const storeDirectory = onDisk === true ? join(directory, "store") : null;
    const lab = new BootLab(enclosure, directory, { ...defaults(directory), storeDirectory, ...options });
    try {
      await lab.logged((line) => line["event"] === "test.ready");
    } catch (error) {
      await lab[Symbol.asyncDispose]();
      throw error;
    }
    return lab;
  }

  /** As the host counts it; undefined when it has ended. */
  serverPid(): Promise<number | undefined> {
    return this.#server.pid();
  }

  /** What the server has logged so far. */
  lines(): readonly JsonObject[] {
    return readFileSync(this.#log, "utf8")
      .split("\n")
      .map(parseLine)
      .filter((line) => line !== undefined);
  }

  /** The first line that fits, once it is there. @throws Error with the whole log when it does not come */
  async logged(fits: (line: JsonObject) => boolean, within_s = 30): Promise<JsonObject> {
    const until = this.#clock.now() + within_s * 1000;
    for (;;) {
      const line = this.lines().find(fits);
      if (line !== undefined) return line;
      if (this.#clock.now() > until || !this.#server.isRunning)
        throw new Error(`not logged; the log:\n${readFileSync(this.#log, "utf8")}`);
      await this.#clock.sleep(millis(50));
    }
  }

  /** Waits until it holds. @throws Error with `what` when it does not come */
  async until(holds: () => boolean, what: string, within_s = 30): Promise<void> {
    const until = this.#clock.now() + within_s * 1000;
    while (!holds()) {
      if (this.#clock.now() > until) throw new Error(`${what} did not come in ${within_s} s`);
      await this.#clock.sleep(millis(50));
    }
  }

  answers(): readonly JsonObject[] {
    return this.lines().filter((line) => line["event"] === "dhcp.answered");
  }

  /** What each firmware was told to boot, once each, in order. */
  told(answers = this.answers()): readonly string[] {
    return [...new Set(answers.map((line) => `${line["firmware"]}: ${line["boot"]}`))];
  }

  /** The files that TFTP gave whole, in order. */
  taken(): readonly unknown[] {
    return this.lines().flatMap((line) => (line["event"] === "tftp.done" ? [line["file"]] : []));
  }

  /** Runs a client on the wire to its end. */
  async client(argv: readonly string[]): Promise<Outcome> {
    return await this.enclosure.run("site", argv);
  }

  /**
   * systemd-networkd for `eth0` with these lines of its configuration. Its state lies in a place of its own, and of a /sys
   * that it cannot write to it concludes that there is no udev to wait for.
   */
  async networkd(lines: readonly string[]): Promise<Child> {
    const file = this.script("eth0.network", `${["[Match]", "Name=eth0", ...lines].join("\n")}\n`);
    await this.client(["mkdir", "-p", "/run/systemd"]);
    await this.client(["mount", "-t", "tmpfs", "tmpfs", "/run/systemd"]);
    await this.client(["mkdir", "-p", "/run/systemd/network", "/run/systemd/netif"]);
    await this.client(["cp", file, "/run/systemd/network/10-eth0.network"]);
    await this.client(["chown", "-R", "systemd-network:", "/run/systemd/netif"]);
    await this.client(["mount", "-o", "remount,bind,ro", "/sys"]);
    return this.enclosure.spawn("site", ["/usr/lib/systemd/systemd-networkd"], {
      logFile: this.#networkdLogFile,
      env: { SYSTEMD_LOG_LEVEL: "debug", SYSTEMD_LOG_TARGET: "console" },
    });
  }

  get #networkdLogFile(): string {
    return join(this.directory, "networkd.log");
  }

  networkdLog(): string {
    return readFileSync(this.#networkdLogFile, "utf8");
  }

  /** Writes an executable file of this name into the lab's directory, and gives its path. */
  script(name: string, text: string): string {
    const path = join(this.directory, name);
    writeFileSync(path, text, { mode: 0o755 });
    return path;
  }

  async wait(time_s: number): Promise<void> {
    await this.#clock.sleep(seconds(time_s));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop();
    await this.enclosure[Symbol.asyncDispose]();
  }
}

function defaults(directory: string): BootServerOptions {
  const kernel = join(directory, "kernel");
  const initrd = join(directory, "initrd");
  writeFileSync(kernel, "a kernel of few words");
  writeFileSync(initrd, Buffer.alloc(3_000_000, "initrd "));
  return {
    interface: "br0",
    address: SERVER,
    network: "10.79.0.0",
    prefixLength: 24,
    pool: ["10.79.0.100", "10.79.0.150"],
    leaseTime_s: 3600,
    unicast: false,
    probe: false,
    proxy: false,
    nodes: [],
    isoDirectories: [directory],
    discovery: false,
    loaders: { "undionly.kpxe": "/usr/lib/ipxe/undionly.kpxe", "snponly.efi": "/usr/lib/ipxe/snponly.efi" },
    tftpRoot: null,
    kernel,
    initrd,
    kernelArguments: "console=ttyS0,115200n8",
    httpPort: SERVER_PORT_HTTP,
    storeDirectory: null,
    logLevel: "debug",
  };
}
