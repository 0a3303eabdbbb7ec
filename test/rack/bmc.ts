import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Fault } from "../../src/core/fault.ts";
import type { Child } from "./child.ts";
import type { Enclosure } from "./enclosure.ts";
import type { Machine } from "./machine.ts";

export interface BmcOptions {
  readonly machine: Machine;
  readonly enclosure: Enclosure;
  readonly address: string;
  readonly username: string;
  readonly password: string;
  readonly directory: string;
  readonly socketDirectory: string;
  readonly log: (line: string) => void;
}

/**
 * The chassis control program of ipmi_sim: hands its arguments (`get power`, `set power 1`, `set reset 1`,
 * `set boot pxe`, `set shutdown 1`, `get boot`) to the rack and prints the answer; a line "!" means refused.
 */
const CHASSIS_PROGRAM = `#!/usr/bin/perl
use IO::Socket::UNIX;
my $path = shift;
my $rack = IO::Socket::UNIX->new(Peer => $path) or exit 1;
print $rack "@ARGV\\n";
my $answer = <$rack>;
exit 1 if !defined $answer || $answer =~ /^!/;
print $answer if $answer =~ /\\S/;
`;

/** A machine's BMC: ipmi_sim, a real IPMI 2.0 BMC over LAN, whose chassis is the machine. */
export class Bmc implements AsyncDisposable {
  readonly address: string;
  readonly port = 623;
  readonly username: string;
  readonly password: string;
  readonly logFile: string;
  readonly #options: BmcOptions;
  readonly #socketPath: string;
  #chassis: Server | undefined;
  #process: Child | undefined;

  constructor(options: BmcOptions) {
    this.#options = options;
    this.address = options.address;
    this.username = options.username;
    this.password = options.password;
    this.logFile = join(options.directory, `${options.machine.name}.bmc.log`);
    this.#socketPath = join(options.socketDirectory, `${options.address}.chassis`);
  }

  /** Plugs it in. Returns when its UDP port is bound. */
  async start(): Promise<void> {
    if (this.#process?.isRunning === true) return;
    const { directory, enclosure, machine } = this.#options;
    const state = join(directory, `${machine.name}.bmc`);
    mkdirSync(state, { recursive: true, mode: 0o700 });
    const program = join(state, "chassis");
    writeFileSync(program, CHASSIS_PROGRAM, { mode: 0o755 });
    const lanConfiguration = join(state, "lan.conf");
    writeFileSync(lanConfiguration, this.#lanConfiguration(program), { mode: 0o600 });
    const emulation = join(state, "bmc.emu");
    writeFileSync(emulation, emulationCommands());
    await this.#listen();
    this.#process = enclosure.spawn("rack", ["ipmi_sim", "-n", "-c", lanConfiguration, "-f", emulation, "-s", state], {
      logFile: this.logFile,
    });
    await this.#untilBound();
  }

  /** Takes the BMC off the network, as a dead management controller is; the machine keeps its power. */
  async stop(): Promise<void> {
    await this.#process?.kill("SIGKILL");
    await this.#process?.ended;
    this.#process = undefined;
    const chassis = this.#chassis;
    this.#chassis = undefined;
    await new Promise<void>((resolve) => (chassis === undefined ? resolve() : chassis.close(() => resolve())));
  }

  async #untilBound(): Promise<void> {
    const bound = `while ! ss -Hnlu src ${this.address}:${this.port} | grep -q .; do sleep 0.05; done`;
    const wait = this.#options.enclosure.spawn("rack", ["timeout", "20", "sh", "-c", bound]);
    const outcome = await Promise.race([wait.ended, this.#process?.ended]);
    if (outcome?.code === 0 && this.#process?.isRunning === true) return;
    throw new Fault(
      "unreachable",
      "rack.bmc",
      `ipmi_sim does not run; its log is ${this.logFile}: ${readFileSync(this.logFile, "utf8").slice(-500)}`,
    );
  }

  async #listen(): Promise<void> {
    if (this.#chassis !== undefined) return;
    const server = createServer((socket) => {
      // ipmi_sim may be killed while its chassis program waits.
      socket.on("error", () => undefined);
      const lines = createInterface({ input: socket });
      lines.on("error", () => undefined);
      lines.on("line", (line) => {
        this.#answer(line).then(
          (answer) => socket.end(`${answer}\n`),
          (error: unknown) => {
            this.#options.log(`${this.#options.machine.name}: chassis "${line}" failed: ${String(error)}`);
            socket.end("!\n");
          },
        );
      });
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(this.#socketPath, resolve);
    });
    this.#chassis = server;
  }

  async #answer(request: string): Promise<string> {
    const { machine } = this.#options;
    switch (request.trim()) {
      case "get power":
        return `power:${machine.powerIsOn() ? 1 : 0}`;
      case "set power 1":
        machine.powerOn();
        return "";
      case "set power 0":
        await machine.powerOff();
        return "";
      case "set reset 1":
        await machine.reset();
        return "";
      case "set shutdown 1":
        await machine.pressPowerButton();
        return "";
      case "get boot":
        return `boot:${BOOT_WORD[machine.bootOrder.override ?? "none"]}`;
      case "set boot pxe":
        await machine.requestBoot("pxe");
        return "";
      case "set boot default":
        await machine.requestBoot("disk");
        return "";
      case "set boot none":
        await machine.requestBoot(undefined);
        return "";
      default:
        return request.startsWith("set identify") ? "" : "!";
    }
  }

  #lanConfiguration(program: string): string {
    const { machine } = this.#options;
    return [
      `name "${machine.name}"`,
      "set_working_mc 0x20",
      "  startlan 1",
      `    addr ${this.address} ${this.port}`,
      "    priv_limit admin",
      "    allowed_auths_callback none md2 md5 straight",
      "    allowed_auths_user none md2 md5 straight",
      "    allowed_auths_operator none md2 md5 straight",
      "    allowed_auths_admin none md2 md5 straight",
      // Without a GUID ipmi_sim does not offer RMCP+.
      `    guid ${machine.uuid.replaceAll("-", "")}`,
      "  endlan",
      `  chassis_control "${program} ${this.#socketPath}"`,
      `  sol "tcp:127.0.0.1:${machine.consolePort}" 115200`,
      `  user 1 false "" "" user 10 none md2 md5 straight`,
      `  user 2 true "${this.username}" "${this.password}" admin 10 none md2 md5 straight`,
      "",
    ].join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** ipmi_sim's word for the hard disk (boot device 2 of IPMI 2.0 table 28-14) is "default". */
const BOOT_WORD = { pxe: "pxe", disk: "default", none: "none" } as const;

/** One BMC at 0x20 with an event log. */
function emulationCommands(): string {
  return [
    "mc_setbmc 0x20",
    "mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02",
    "sel_enable 0x20 1000 0x0a",
    "mc_enable 0x20",
    "",
  ].join("\n");
}
