/**
 * Values of option 53.
 * @source RFC 2132 §9.6; RFC 3203 §4; RFC 4388 §6.1; RFC 6926 §6.2.1; RFC 7724 §5.2.1
 */
export const messageTypes = {
  discover: { code: 1, from: "client" },
  offer: { code: 2, from: "server" },
  request: { code: 3, from: "client" },
  decline: { code: 4, from: "client" },
  ack: { code: 5, from: "server" },
  nak: { code: 6, from: "server" },
  release: { code: 7, from: "client" },
  inform: { code: 8, from: "client" },
  forcerenew: { code: 9, from: "server" },
  leasequery: { code: 10, from: "client" },
  leaseunassigned: { code: 11, from: "server" },
  leaseunknown: { code: 12, from: "server" },
  leaseactive: { code: 13, from: "server" },
  bulkleasequery: { code: 14, from: "client" },
  leasequerydone: { code: 15, from: "server" },
  activeleasequery: { code: 16, from: "client" },
  leasequerystatus: { code: 17, from: "server" },
  tls: { code: 18, from: "client" },
} as const satisfies Record<string, { readonly code: number; readonly from: "client" | "server" }>;

export type MessageType = keyof typeof messageTypes;

export function isMessageType(text: string): text is MessageType {
  return Object.hasOwn(messageTypes, text);
}

const byCode = new Map<number, MessageType>(
  Object.entries(messageTypes).flatMap(([name, row]) => (isMessageType(name) ? [[row.code, name]] : [])),
);

export function messageTypeFromCode(code: number): MessageType | undefined {
  return byCode.get(code);
}
