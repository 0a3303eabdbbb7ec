import { type JsonObject, numberProperty, objectProperty, stringProperty } from "../../src/core/json.ts";
import type { Firmware } from "./qemu-arguments.ts";

/** How far an image is. */
export interface StreamProgress {
  readonly step: string;
  readonly bytes: number;
  readonly total: number;
  readonly mbPerSecond: number;
}

/** What the site knows of a node at a moment; what one line on the screen shows. */
export interface NodeProgress {
  readonly name: string;
  readonly firmware: Firmware;
  /** The stage of the demonstration, or how it ended. */
  readonly stage: string;
  /** Seconds on the demonstration's clock at which the stage began. */
  readonly since: number;
  readonly state: string;
  readonly step: string;
  readonly stream: StreamProgress | undefined;
  readonly ended: "done" | "failed" | undefined;
}

export function newNodeProgress(name: string, firmware: Firmware): NodeProgress {
  return { name, firmware, stage: "-", since: 0, state: "-", step: "", stream: undefined, ended: undefined };
}

/** The progress after an event of the rack; unknown types change nothing. */
export function applyEvent(progress: NodeProgress, event: JsonObject): NodeProgress {
  const data = objectProperty(event, "data") ?? {};
  const type: string = stringProperty(event, "type") ?? "";
  switch (type) {
    case "node.state":
      return { ...progress, state: stringProperty(data, "to") ?? progress.state, stream: undefined };
    case "node.step.started":
      return { ...progress, step: stringProperty(data, "step") ?? "", stream: undefined };
    case "node.step.done":
      return { ...progress, step: "", stream: undefined };
    case "node.step.progress": {
      const stream = streamProgress(data);
      return { ...progress, step: stream.step, stream };
    }
    default:
      return progress;
  }
}

export function streamProgress(data: JsonObject): StreamProgress {
  return {
    step: stringProperty(data, "step") ?? "",
    bytes: numberProperty(data, "bytes") ?? 0,
    total: numberProperty(data, "total") ?? 0,
    mbPerSecond: numberProperty(data, "mb_s") ?? 0,
  };
}

/** `1:05`, or `1:00:00` from an hour on. */
export function clockText(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const tail = `${String(Math.floor(whole / 60) % 60).padStart(whole < 3600 ? 1 : 2, "0")}:${String(whole % 60).padStart(2, "0")}`;
  return whole < 3600 ? tail : `${Math.floor(whole / 3600)}:${tail}`;
}

/** `[#####.....]  50 % 1024/2048 MiB 200 MB/s` */
export function streamText({ bytes, total, mbPerSecond }: StreamProgress, width = 20): string {
  const part = total > 0 ? Math.min(1, bytes / total) : 0;
  const full = Math.round(part * width);
  const percent = String(Math.floor(part * 100)).padStart(3);
  const mib = (count: number): string => String(Math.round(count / 2 ** 20));
  return `[${"#".repeat(full)}${".".repeat(width - full)}] ${percent} % ${mib(bytes)}/${mib(total)} MiB ${Math.round(mbPerSecond)} MB/s`;
}

/** One line of the live view, at most `width` characters. */
export function progressLine(progress: NodeProgress, now: number, width: number): string {
  const { name, stage, state, step, stream, since, ended } = progress;
  const elapsed = ended === undefined ? clockText(now - since).padStart(5) : "     ";
  const tail = stream === undefined ? "" : `  ${streamText(stream)}`;
  return `${name.padEnd(8)} ${stage.padEnd(9)} ${elapsed}  ${state.padEnd(15)} ${step}${tail}`
    .slice(0, width)
    .trimEnd();
}
