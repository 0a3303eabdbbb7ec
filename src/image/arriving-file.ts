import { type NativeDownload, nativeAddon } from "../core/native-addon.ts";

/**
 * The file of a download. It is open as long as something still comes or somebody holds it, to read it from its beginning, and no longer:
 * a removed file takes up room while it is open.
 */
export class ArrivingFile {
  readonly download: NativeDownload;
  #holders = 0;
  #ended = false;

  constructor(download: NativeDownload) {
    this.download = download;
  }

  /** Keeps it open until disposed of; undefined when it is closed already. */
  hold(): Disposable | undefined {
    if (this.#ended && this.#holders === 0) return undefined;
    this.#holders += 1;
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        this.#holders -= 1;
        this.#closeIfOver();
      },
    };
  }

  /** Nothing more comes. Once. */
  end(): void {
    this.#ended = true;
    this.#closeIfOver();
  }

  #closeIfOver(): void {
    if (this.#ended && this.#holders === 0) nativeAddon().closeDownload(this.download);
  }
}
