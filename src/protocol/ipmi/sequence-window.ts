/** Which of the last 32 inbound session sequence numbers have been seen; bit n stands for `highest - n`. */
export interface SequenceWindow {
  readonly highest: number;
  readonly seen: number;
}

export const emptyWindow: SequenceWindow = { highest: 0, seen: 0 };

const WIDTH = 32;

/**
 * The window after `sequence`, or undefined for a number that was seen already, is older than the window, or is 0, which
 * no authenticated packet has. Any jump forward is accepted: what counts is that nothing is accepted twice.
 * @source IPMI 2.0 §6.12.12, §6.12.13
 */
export function acceptSequence(window: SequenceWindow, sequence: number): SequenceWindow | undefined {
  if (sequence === 0) return undefined;
  const ahead = (sequence - window.highest) | 0;
  if (window.highest === 0) return { highest: sequence, seen: 1 };
  if (ahead > 0) return { highest: sequence, seen: ahead >= WIDTH ? 1 : ((window.seen << ahead) | 1) >>> 0 };
  const bit = -ahead;
  if (bit >= WIDTH || ((window.seen >>> bit) & 1) === 1) return undefined;
  return { highest: window.highest, seen: (window.seen | (1 << bit)) >>> 0 };
}
