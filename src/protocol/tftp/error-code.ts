/** @source RFC 1350 §5; RFC 2347 §"Error" (8) */
export const tftpErrors = {
  notDefined: 0,
  fileNotFound: 1,
  accessViolation: 2,
  diskFull: 3,
  illegalOperation: 4,
  unknownTransferId: 5,
  fileExists: 6,
  noSuchUser: 7,
  optionRefused: 8,
} as const;

export type TftpErrorName = keyof typeof tftpErrors;
