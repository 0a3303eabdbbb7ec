import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type Deadline, SystemClock } from "../../src/core/clock.ts";
import { Fault } from "../../src/core/fault.ts";
import { stringProperty } from "../../src/core/json.ts";
import { millis } from "../../src/core/units.ts";
import { type BootDevice, bootIndexes, BootOrder } from "./boot-order.ts";
import type { Child } from "./child.ts";
import type { Enclosure } from "./enclosure.ts";
import { machineMac, tapName } from "./network.ts";
import {
  type Disk,
  type DiskBus,
  type Firmware,
  FIRST_DISK_ID,
  type Hardware,
  NIC_ID,
  OVMF_VARIABLES,
  qemuArguments,
} from "./qemu-arguments.ts";
import { Qmp } from "./qmp.ts";

export interface DiskSpec {
  readonly sizeGb: number;
  readonly bus?: DiskBus;
}

export interface MachineSpec {
  readonly name: string;
  readonly firmware: Firmware;
  readonly memoryMb?: number;
  readonly cpus?: number;
  readonly disks?: readonly DiskSpec[];
  /** What the firmware tries first when the BMC asked for nothing; "disk" unless told. */
  readonly usualBoot?: BootDevice;
  readonly bmc?: { readonly username: string; readonly password: string };
}

export interface MachineOptions {
  readonly spec: MachineSpec;
  readonly index: number;
  readonly enclosure: Enclosure;
  /** Disks, console and logs. */
  readonly directory: string;
  /** Sockets, whose paths must be short. */
  readonly socketDirectory: string;
  readonly log: (line: string) => void;
}

const clock = new SystemClock();
const CONSOLE_PORT_BASE = 6100;

/** A physical machine as far as anyone on its network can tell: QEMU, which exists while the machine is powered on. */
export class Machine implements AsyncDisposable {
  readonly name: string;
  readonly firmware: Firmware;
  readonly mac: string;
  readonly memoryMb: number;
  readonly cpus: number;
  readonly disks: readonly Disk[];
  readonly bootOrder: BootOrder;
  /** Everything the machine ever said on its serial line, over all power cycles. */
  readonly consoleLog: string;
  readonly consolePort: number;
  /** What QEMU itself complained about. */
  readonly logFile: string;
  readonly #options: MachineOptions;
  readonly #hardware: Hardware;
  #qemu: Child | undefined;
  #qmp: Qmp | undefined;
  #resets = 0;
  #start = 0;
  #bootOrderWrites: Promise<void> = Promise.resolve();

  constructor(options: MachineOptions) {
    const { spec, index, directory, socketDirectory } = options;
    this.#options = options;
    this.name = spec.name;
    this.firmware = spec.firmware;
    this.mac = machineMac(index);
    this.memoryMb = spec.memoryMb ?? 1024;
    this.cpus = spec.cpus ?? 2;
    this.bootOrder = new BootOrder(spec.usualBoot ?? "disk");
    this.consoleLog = join(directory, `${spec.name}.console`);
    this.consolePort = CONSOLE_PORT_BASE + index;
    this.logFile = join(directory, `${spec.name}.qemu.log`);
    this.disks = (spec.disks ?? [{ sizeGb: 4 }]).map((disk, number) => ({
      path: join(directory, `${spec.name}.disk${number}`),
      serial: `${spec.name}-disk${number}`.slice(-20),
      bus: disk.bus ?? "virtio",
    }));
    this.#hardware = {
      name: spec.name,
      firmware: spec.firmware,
      uuid: `77777777-0000-4000-8000-${String(index + 1).padStart(12, "0")}`,
      memoryMb: this.memoryMb,
      cpus: this.cpus,
      mac: this.mac,
      tap: tapName(index),
      disks: this.disks,
      variables: join(directory, `${spec.name}.vars`),
      consoleLog: this.consoleLog,
      consolePort: this.consolePort,
      qmpSocket: join(socketDirectory, `${index}.qmp`),
    };
    mkdirSync(directory, { recursive: true });
    writeFileSync(this.consoleLog, "");
    for (const [number, disk] of this.disks.entries()) {
      rmSync(disk.path, { force: true });
      writeFileSync(disk.path, "");
      truncateSync(disk.path, (spec.disks?.[number]?.sizeGb ?? 4) * 2 ** 30);
    }
    if (spec.firmware === "uefi") {
      if (!existsSync(OVMF_VARIABLES))
        throw new Fault("not-found", "rack.ovmf", `${OVMF_VARIABLES} is missing (package ovmf)`);
      copyFileSync(OVMF_VARIABLES, this.#hardware.variables);
    }
  }

  get uuid(): string {
    return this.#hardware.uuid;
  }

  /** Where the bytes of its first disk are. */
  get diskPath(): string {
    const [disk] = this.disks;
    if (disk === undefined) throw new Fault("not-found", "rack.disk", `${this.name} has no disk`);
    return disk.path;
  }

  /** Bytes of its first disk that were ever written. */
  diskUsage(): number {
    return statSync(this.diskPath).blocks * 512;
  }

  powerIsOn(): boolean {
    return this.#qemu?.isRunning === true;
  }

  /** How often it was reset since the rack was opened, by its guest or by its BMC. */
  get resets(): number {
    return this.#resets;
  }

  /** Powers it on with its present boot order; answers at once, before the first instruction. Does nothing when it is on. */
  powerOn(): void {
    if (this.powerIsOn()) return;
    const device = this.bootOrder.next;
    this.#options.log(`${this.name}: power on, boots from ${device} first`);
    this.#startedAt(this.consoleLength());
    rmSync(this.#hardware.qmpSocket, { force: true });
    // The real appliance does not share its processor with the machines: they stand back for it.
    const argv = ["nice", "-n", "5", ...qemuArguments(this.#hardware, bootIndexes(device))];
    const qemu = this.#options.enclosure.spawn("rack", argv, {
      logFile: this.logFile,
    });
    this.#qemu = qemu;
    void this.#attend(qemu);
  }

  /** Cuts the power: nothing that the guest holds in memory reaches the disk. */
  async powerOff(): Promise<void> {
    const qemu = this.#qemu;
    if (qemu?.isRunning !== true) return;
    await qemu.kill("SIGKILL");
    await qemu.ended;
  }

  /** Pulls the reset line; the firmware starts anew and reads the boot order. Nothing happens to a machine that is off. */
  async reset(): Promise<void> {
    await this.#ask("system_reset");
  }

  /** Presses the power button: the guest's ACPI decides. */
  async pressPowerButton(): Promise<void> {
    await this.#ask("system_powerdown");
  }

  /** What the firmware shall try first at the next start, once; undefined forgets an earlier request. */
  async requestBoot(device: BootDevice | undefined): Promise<void> {
    this.bootOrder.request(device);
    this.#options.log(`${this.name}: next boot from ${device ?? `${this.bootOrder.usual} (as usual)`}`);
    await this.#writeBootOrder();
  }

  async #attend(qemu: Child): Promise<void> {
    void qemu.ended.then(({ code, signal }) => {
      this.#options.log(`${this.name}: power off (QEMU ended: ${signal ?? code})`);
    });
    try {
      const qmp = await Qmp.connect(
        this.#hardware.qmpSocket,
        () => qemu.isRunning,
        (event, data) => {
          if (event === "RESET") this.#onReset(stringProperty(data, "reason") ?? "unknown");
        },
      );
      this.#qmp = qmp;
      void qemu.ended.then(() => {
        qmp[Symbol.dispose]();
        if (this.#qmp === qmp) this.#qmp = undefined;
      });
      await qmp.execute("cont");
    } catch (error) {
      if (qemu.isRunning) this.#options.log(`${this.name}: QEMU does not answer: ${String(error)}`);
    }
  }

  /**
   * SeaBIOS answers a warm reset with one of its own, before it has said a word: a start counts, and uses up the BMC's
   * request, once the machine speaks.
   */
  #startedAt(silence: number): void {
    this.#start += 1;
    this.#countStart(this.#start, silence).catch((error: unknown) => {
      if (this.powerIsOn()) this.#options.log(`${this.name}: its start was not counted: ${String(error)}`);
    });
  }

  async #countStart(start: number, silence: number): Promise<void> {
    const device = this.bootOrder.override;
    while (this.consoleLength() === silence) {
      await clock.sleep(millis(50));
      if (this.#start !== start || !this.powerIsOn()) return;
    }
    if (device === undefined || this.bootOrder.override !== device) return;
    this.bootOrder.request(undefined);
    await this.#writeBootOrder();
  }

  #onReset(reason: string): void {
    this.#resets += 1;
    this.#options.log(`${this.name}: reset (${reason}), boots from ${this.bootOrder.next} first`);
    this.#startedAt(this.consoleLength());
  }

  /** Leaves the order for the next reset with QEMU, which hands it to the firmware when that happens. One write at a time. */
  #writeBootOrder(): Promise<void> {
    this.#bootOrderWrites = this.#bootOrderWrites.then(async () => {
      const qmp = this.#qmp;
      if (qmp === undefined) return;
      const { nic, disk } = bootIndexes(this.bootOrder.next);
      const settings = [
        { id: NIC_ID, index: nic },
        ...(this.disks.length > 0 ? [{ id: FIRST_DISK_ID, index: disk }] : []),
      ];
      const set = (id: string, value: number) =>
        qmp.execute("qom-set", { path: `/machine/peripheral/${id}`, property: "bootindex", value });
      try {
        // QEMU refuses an index that is taken, even by the device itself: -1 takes each off the list first.
        for (const { id } of settings) await set(id, -1);
        for (const { id, index } of settings) await set(id, index);
      } catch (error) {
        if (this.powerIsOn()) this.#options.log(`${this.name}: QEMU refused the boot order: ${String(error)}`);
      }
    });
    return this.#bootOrderWrites;
  }

  async #ask(command: string): Promise<void> {
    try {
      await this.#qmp?.execute(command);
    } catch (error) {
      if (this.powerIsOn()) throw error;
    }
  }

  /** What it has said on its serial line so far, from `since` (a length read earlier) on. */
  console(since = 0): string {
    return readFileSync(this.consoleLog).subarray(since).toString("utf8");
  }

  /** A mark for `console` and `waitForConsole`: how many bytes it has said. */
  consoleLength(): number {
    return statSync(this.consoleLog).size;
  }

  /** The first match of `pattern` in what it says from `since` on. @throws Fault timeout, naming the console's file */
  async waitForConsole(pattern: RegExp, deadline: Deadline, since = 0): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.console(since));
      if (match !== null) return match;
      try {
        await clock.sleep(millis(200), deadline.signal);
      } catch (error) {
        throw new Fault(
          "timeout",
          "rack.console",
          `${this.name} never said ${pattern}; its console is in ${this.consoleLog}`,
          { cause: error },
        );
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.powerOff();
  }
}
