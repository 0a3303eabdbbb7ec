// The functions of the addon; src/core/native-addon.ts has their types.
#pragma once

#include <napi.h>

namespace ironrack::addon {

/// bindUdpToInterface({ interface, address, port, broadcast }) → descriptor
Napi::Value bind_udp_to_interface(const Napi::CallbackInfo& info);

/// openDatagramBatch(descriptor, onReadable) → { received, receivedRows, toSend, toSendRows, watch, receive, send, dropped, close }
Napi::Value open_datagram_batch(const Napi::CallbackInfo& info);

/// sdNotify(state) → whether there is a service manager that was told
Napi::Value sd_notify(const Napi::CallbackInfo& info);

/// lockFile(path) → { release() } or false when another holds it
Napi::Value lock_file(const Napi::CallbackInfo& info);

/// setPeerHardwareAddress({ interface, address, hardwareAddress })
Napi::Value set_peer_hardware_address(const Napi::CallbackInfo& info);

/// startStream(request, onProgress, onEnd) → { add(target) → place or undefined, drop(place), cancel() }
Napi::Value start_stream(const Napi::CallbackInfo& info);

/// startFileDigest({ path, algorithm }, onProgress, onEnd) → { cancel() }
Napi::Value start_file_digest(const Napi::CallbackInfo& info);

/// startConvertibleCheck({ path, format }, onProgress, onEnd) → { cancel() }
Napi::Value start_convertible_check(const Napi::CallbackInfo& info);

/// openTftpSender(onOutcome) → { start(request), cancel(id), close() }
Napi::Value open_tftp_sender(const Napi::CallbackInfo& info);

/// openFileSender(onOutcome) → { start(request), cancel(id), close() }
Napi::Value open_file_sender(const Napi::CallbackInfo& info);

/// openDownload({ path, checksum?, begun? }) → { download } or { fault }
Napi::Value open_download(const Napi::CallbackInfo& info);

/// startDownload({ download, url, … }, onProgress, onEnd) → { cancel() }
Napi::Value start_download(const Napi::CallbackInfo& info);

/// abandonDownload(download, reason): whoever reads the file meanwhile is told
Napi::Value abandon_download(const Napi::CallbackInfo& info);

/// closeDownload(download): when no attempt runs and nobody will read it any more; who reads it already goes on
Napi::Value close_download(const Napi::CallbackInfo& info);

}  // namespace ironrack::addon
