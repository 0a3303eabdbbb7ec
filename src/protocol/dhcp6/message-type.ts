/** What clients and servers say to each other, by the number on the wire. @source RFC 8415 §7.3 */
export const clientServerTypes = {
  solicit: 1,
  advertise: 2,
  request: 3,
  confirm: 4,
  renew: 5,
  rebind: 6,
  reply: 7,
  release: 8,
  decline: 9,
  reconfigure: 10,
  informationRequest: 11,
} as const;

/** What relays and servers say to each other. @source RFC 8415 §7.3 */
export const relayTypes = { relayForward: 12, relayReply: 13 } as const;

export type ClientServerType = keyof typeof clientServerTypes;
export type RelayType = keyof typeof relayTypes;

export const clientServerTypeOf: ReadonlyMap<number, ClientServerType> = new Map(
  Object.entries(clientServerTypes).map(([name, code]) => [code, name as ClientServerType]),
);

export const relayTypeOf: ReadonlyMap<number, RelayType> = new Map(
  Object.entries(relayTypes).map(([name, code]) => [code, name as RelayType]),
);
