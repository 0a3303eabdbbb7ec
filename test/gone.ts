import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";

/** Waits until the process has ended; nobody need have waited for it. @source proc_pid_stat(5): state Z is a zombie */
export async function gone(pid: number): Promise<void> {
  while (runs(pid)) await pause(5);
}

function runs(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
  } catch {
    return false;
  }
}
