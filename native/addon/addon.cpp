#include "addon/functions.hpp"

namespace {

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  using namespace ironrack::addon;
  exports.Set("bindUdpToInterface", Napi::Function::New<bind_udp_to_interface>(env, "bindUdpToInterface"));
  exports.Set("openDatagramBatch", Napi::Function::New<open_datagram_batch>(env, "openDatagramBatch"));
  exports.Set("sdNotify", Napi::Function::New<sd_notify>(env, "sdNotify"));
  exports.Set("lockFile", Napi::Function::New<lock_file>(env, "lockFile"));
  exports.Set("setPeerHardwareAddress", Napi::Function::New<set_peer_hardware_address>(env, "setPeerHardwareAddress"));
  exports.Set("startStream", Napi::Function::New<start_stream>(env, "startStream"));
  exports.Set("startFileDigest", Napi::Function::New<start_file_digest>(env, "startFileDigest"));
  exports.Set("startConvertibleCheck", Napi::Function::New<start_convertible_check>(env, "startConvertibleCheck"));
  exports.Set("openTftpSender", Napi::Function::New<open_tftp_sender>(env, "openTftpSender"));
  exports.Set("openFileSender", Napi::Function::New<open_file_sender>(env, "openFileSender"));
  exports.Set("openDownload", Napi::Function::New<open_download>(env, "openDownload"));
  exports.Set("startDownload", Napi::Function::New<start_download>(env, "startDownload"));
  exports.Set("abandonDownload", Napi::Function::New<abandon_download>(env, "abandonDownload"));
  exports.Set("closeDownload", Napi::Function::New<close_download>(env, "closeDownload"));
  return exports;
}

}  // namespace

NODE_API_MODULE(ironrack, initialise)
