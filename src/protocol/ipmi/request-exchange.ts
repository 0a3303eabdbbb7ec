import { ByteReader } from "../../core/byte-reader.ts";
import { Fault, isFault, MalformedFault } from "../../core/fault.ts";
import type { IpmiCommand } from "./command.ts";
import { completionFault } from "./completion-code.ts";
import { waitOf, type ExchangeInput, type ExchangeOutput, type ExchangeStep, type RetryPlan } from "./exchange.ts";
import { decodeLanMessage } from "./lan-message.ts";
import { encodeRequestMessage } from "./request-message.ts";
import { open, seal, type Session } from "./session.ts";

/** One request in a session, from the first packet to the answer. Retries carry the same rqSeq in new packets. */
export interface RequestExchange<Response> {
  readonly session: Session;
  readonly rqSeq: number;
  readonly attempt: number;
  readonly plan: RetryPlan;
  readonly payload: Uint8Array;
  readonly command: IpmiCommand<never, Response>;
  /** Why the last attempt brought no answer, if something said so. */
  readonly trouble: Fault | undefined;
}

/**
 * `plan` says how often a read or a write is sent; an action is sent once, and if its answer stays out the fault has the
 * code `ipmi.unconfirmed`: only reading the state back tells what happened.
 */
export function beginRequest<Request, Response>(
  session: Session,
  command: IpmiCommand<Request, Response>,
  request: Request,
  plan: RetryPlan,
): RequestExchange<Response> {
  const rqSeq = session.nextRequest;
  return {
    session: { ...session, nextRequest: (rqSeq + 1) % 64 },
    rqSeq,
    attempt: 0,
    plan,
    payload: encodeRequestMessage(command, request, rqSeq),
    command: command as IpmiCommand<never, Response>,
    trouble: undefined,
  };
}

export function advanceRequest<Response>(
  exchange: RequestExchange<Response>,
  input: ExchangeInput,
): ExchangeStep<RequestExchange<Response>, Response> {
  switch (input.kind) {
    case "start":
      return send(exchange, input.iv);
    case "timeout": {
      const next = { ...exchange, trouble: input.network ?? exchange.trouble };
      if (exchange.command.effect === "action") return end(next, unconfirmed(next));
      if (exchange.attempt >= exchange.plan.attempts) return end(next, noAnswer(next));
      return send(next, input.iv);
    }
    case "packet":
      return receive(exchange, input.bytes);
  }
}

function send<Response>(
  exchange: RequestExchange<Response>,
  iv: Uint8Array,
): ExchangeStep<RequestExchange<Response>, Response> {
  const { session, bytes } = seal(exchange.session, exchange.payload, iv);
  const attempt = exchange.attempt + 1;
  // An action has one attempt and all the time of the plan, for it may take the BMC seconds to begin it.
  const after =
    exchange.command.effect === "action"
      ? waitOf(exchange.plan, exchange.plan.attempts)
      : waitOf(exchange.plan, attempt);
  return {
    state: { ...exchange, session, attempt },
    outputs: [
      { kind: "send", bytes },
      { kind: "arm", after },
    ],
  };
}

function receive<Response>(
  exchange: RequestExchange<Response>,
  bytes: Uint8Array,
): ExchangeStep<RequestExchange<Response>, Response> {
  let session = exchange.session;
  try {
    const opened = open(session, bytes);
    if (opened.kind === "ignored") return drop(exchange, opened.reason, false);
    session = opened.session;
    const answer = decodeLanMessage(opened.payload);
    const next = { ...exchange, session };
    if (
      answer.netFn !== exchange.command.netFn + 1 ||
      answer.command !== exchange.command.command ||
      answer.sequence !== exchange.rqSeq
    ) {
      return drop(next, "an answer to an earlier request", false);
    }
    return accept(next, answer.data);
  } catch (error) {
    // A packet that passed the integrity check and is still nonsense is the BMC's bug; the retry may fare better.
    if (!(error instanceof MalformedFault)) throw error;
    return drop({ ...exchange, session }, error.message, true);
  }
}

function accept<Response>(
  exchange: RequestExchange<Response>,
  data: Uint8Array,
): ExchangeStep<RequestExchange<Response>, Response> {
  const reader = new ByteReader(data);
  const code = reader.u8("completionCode");
  if (code === 0) return end(exchange, undefined, exchange.command.decode(reader));
  const fault = completionFault(code, exchange.command.name, exchange.command.completions);
  // The BMC did nothing and wants to be asked again, so this holds for actions too: wait, as after silence.
  if (fault.retry === "now" && exchange.attempt < exchange.plan.attempts) {
    const busy = { ...exchange, trouble: fault };
    return { state: busy, outputs: [{ kind: "ignored", reason: fault.message, malformed: false }] };
  }
  return end(exchange, fault);
}

function drop<Response>(
  exchange: RequestExchange<Response>,
  reason: string,
  malformed: boolean,
): ExchangeStep<RequestExchange<Response>, Response> {
  return { state: exchange, outputs: [{ kind: "ignored", reason, malformed }] };
}

function end<Response>(
  exchange: RequestExchange<Response>,
  fault: Fault | undefined,
  result?: Response,
): ExchangeStep<RequestExchange<Response>, Response> {
  const output: ExchangeOutput<Response> =
    fault === undefined ? { kind: "done", result: result as Response } : { kind: "failed", fault };
  return { state: exchange, outputs: [output] };
}

/** The code of the fault of an action whose answer stayed out. */
export const UNCONFIRMED = "ipmi.unconfirmed";
/** The code of the fault of a read or write that was never answered: the session is lost, or the BMC is. */
export const NO_ANSWER = "ipmi.no-answer";

function unconfirmed(exchange: RequestExchange<unknown>): Fault {
  const { trouble } = exchange;
  if (trouble?.retry === "now") return trouble;
  return new Fault(
    trouble?.kind === "unreachable" ? "unreachable" : "timeout",
    UNCONFIRMED,
    `${exchange.command.name}: the BMC did not confirm it; whether it was carried out is not known${because(trouble)}`,
    { cause: trouble, detail: { command: exchange.command.name } },
  );
}

function noAnswer(exchange: RequestExchange<unknown>): Fault {
  const { trouble } = exchange;
  if (isFault(trouble) && trouble.kind === "busy") return trouble;
  return new Fault(
    trouble?.kind === "unreachable" ? "unreachable" : "timeout",
    NO_ANSWER,
    `${exchange.command.name}: the BMC did not answer ${exchange.attempt} requests in its session${because(trouble)}`,
    { cause: trouble, detail: { command: exchange.command.name, attempts: exchange.attempt } },
  );
}

function because(trouble: Fault | undefined): string {
  return trouble === undefined ? "" : `: ${trouble.message}`;
}
