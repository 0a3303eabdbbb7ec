import { ByteWriter } from "../../core/byte-writer.ts";

/** Codes within option 43 when option 60 says PXEClient. @source PXE 2.1 table 2-1, RFC 4578 §3 */
export const pxeOptions = {
  mtftpAddress: 1,
  mtftpClientPort: 2,
  mtftpServerPort: 3,
  mtftpTimeout: 4,
  mtftpDelay: 5,
  discoveryControl: 6,
  discoveryMulticastAddress: 7,
  bootServers: 8,
  bootMenu: 9,
  menuPrompt: 10,
  multicastAddresses: 11,
  credentialTypes: 12,
  bootItem: 71,
} as const;

/** Bits of discoveryControl. @source PXE 2.1 table 2-1 */
export const discoveryControl = { noBroadcast: 1, noMulticast: 2, onlyListed: 4, useBootFile: 8 } as const;

/** Option 43 that says: no search for boot servers, load the file named in this very message. */
export function useBootFileNow(): Uint8Array {
  return new ByteWriter(4).u8(pxeOptions.discoveryControl).u8(1).u8(discoveryControl.useBootFile).u8(255).toBytes();
}
