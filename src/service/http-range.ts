/** The validators of a representation. */
export interface Validators {
  /** With its quotes. */
  readonly etag: string;
  readonly modified: Date;
  readonly size: number;
}

export type RequestHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

/** How a GET or HEAD for a file is answered. */
export type FileAnswer =
  | { readonly status: 200 }
  | { readonly status: 206; readonly first: number; readonly last: number }
  | { readonly status: 304 }
  | { readonly status: 412 }
  | { readonly status: 416 };

/** Preconditions, then the range, in the order of RFC 9110 §13.2.2. Pure. */
export function answerFile(headers: RequestHeaders, validators: Validators): FileAnswer {
  const ifMatch = header(headers, "if-match");
  const ifUnmodified = date(header(headers, "if-unmodified-since"));
  if (ifMatch !== undefined) {
    if (!matches(ifMatch, validators.etag, "strong")) return { status: 412 };
  } else if (ifUnmodified !== undefined && seconds(validators.modified) > ifUnmodified) {
    return { status: 412 };
  }
  const ifNoneMatch = header(headers, "if-none-match");
  const ifModified = date(header(headers, "if-modified-since"));
  if (ifNoneMatch !== undefined) {
    if (matches(ifNoneMatch, validators.etag, "weak")) return { status: 304 };
  } else if (ifModified !== undefined && seconds(validators.modified) <= ifModified) {
    return { status: 304 };
  }
  const range = header(headers, "range");
  if (range === undefined || !rangeApplies(header(headers, "if-range"), validators)) return { status: 200 };
  return parseRange(range, validators.size);
}

function header(headers: RequestHeaders, name: string): string | undefined {
  const value = headers[name];
  return typeof value === "string" ? value : undefined;
}

function seconds(when: Date): number {
  return Math.floor(when.getTime() / 1000);
}

function date(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const parsed = Date.parse(text);
  return Number.isNaN(parsed) ? undefined : Math.floor(parsed / 1000);
}

function matches(list: string, etag: string, comparison: "strong" | "weak"): boolean {
  if (list.trim() === "*") return true;
  return list.split(",").some((item) => {
    const one = item.trim();
    return one === etag || (comparison === "weak" && one === `W/${etag}`);
  });
}

/** @source RFC 9110 §13.1.5 */
function rangeApplies(ifRange: string | undefined, validators: Validators): boolean {
  if (ifRange === undefined) return true;
  const text = ifRange.trim();
  if (text.startsWith('"')) return text === validators.etag;
  return date(text) === seconds(validators.modified);
}

/** One range is served; what is not of the form, or several at once, gets the whole (RFC 9110 §14.2 allows it). */
function parseRange(text: string, size: number): FileAnswer {
  const parts = /^\s*bytes\s*=\s*(\d{0,15})\s*-\s*(\d{0,15})\s*$/i.exec(text);
  const from = parts?.[1] ?? "";
  const to = parts?.[2] ?? "";
  if (parts === null || (from === "" && to === "")) return { status: 200 };
  if (from === "") {
    const length = Number(to);
    if (length === 0 || size === 0) return { status: 416 };
    return { status: 206, first: Math.max(0, size - length), last: size - 1 };
  }
  const first = Number(from);
  const last = to === "" ? size - 1 : Math.min(Number(to), size - 1);
  if (to !== "" && Number(to) < first) return { status: 200 };
  return first >= size ? { status: 416 } : { status: 206, first, last };
}
