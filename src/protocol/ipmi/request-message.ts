import type { IpmiCommand } from "./command.ts";
import { BMC_ADDRESS, CONSOLE_ADDRESS, encodeLanMessage } from "./lan-message.ts";

/** A console's request to the BMC. `rqSeq` has six bits. */
export function encodeRequestMessage<Request>(
  command: IpmiCommand<Request, unknown>,
  request: Request,
  rqSeq: number,
): Uint8Array {
  return encodeLanMessage({
    toAddress: BMC_ADDRESS,
    netFn: command.netFn,
    toLun: 0,
    fromAddress: CONSOLE_ADDRESS,
    sequence: rqSeq,
    fromLun: 0,
    command: command.command,
    data: command.encode(request),
  });
}
