/**
 * A program with its arguments, for spawn: the kernel kills it when this process ends, however that happens, as many programs
 * would go on (tgtd also after SIGTERM while it has targets). Its process number is that of the child that spawn returns.
 * @source prctl(2), PR_SET_PDEATHSIG; setpriv(1)
 */
export function boundToUs(program: string, ...args: readonly string[]): [program: string, args: string[]] {
  return ["setpriv", ["--pdeathsig=KILL", program, ...args]];
}
