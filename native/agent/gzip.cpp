#include "gzip.hpp"

#include <algorithm>
#include <zlib.h>

namespace agent {

namespace {
constexpr int gzip_window = 15 + 16;  // zlib.h: 16 more than the window bits asks for the gzip form
constexpr std::size_t step = 256 * 1024;
}  // namespace

bool is_gzip(std::span<const std::uint8_t> bytes) { return bytes.size() >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b; }

Result<Bytes> gunzip(std::span<const std::uint8_t> packed, std::size_t most)
{
    z_stream stream{};
    if (::inflateInit2(&stream, gzip_window) != Z_OK) {
        return fail(FaultKind::internal, "no memory to unpack");
    }
    Bytes out;
    stream.next_in = const_cast<Bytef*>(packed.data());
    stream.avail_in = static_cast<uInt>(packed.size());
    int status = Z_OK;
    while (status == Z_OK) {
        const std::size_t before = out.size();
        out.resize(before + step);
        stream.next_out = out.data() + before;
        stream.avail_out = static_cast<uInt>(step);
        status = ::inflate(&stream, Z_NO_FLUSH);
        out.resize(before + step - stream.avail_out);
        if (out.size() > most) {
            ::inflateEnd(&stream);
            return fail(FaultKind::invalid, "unpacks to more than " + std::to_string(most) + " bytes");
        }
        if (status == Z_STREAM_END && stream.avail_in > 0 && stream.next_in[0] == 0x1f) {
            status = ::inflateReset(&stream);  // another member follows
        }
    }
    ::inflateEnd(&stream);
    if (status != Z_STREAM_END) {
        return fail(FaultKind::malformed, "broken or shortened gzip data");
    }
    return out;
}

Result<Bytes> gzip(std::span<const std::uint8_t> bytes)
{
    z_stream stream{};
    if (::deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, gzip_window, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        return fail(FaultKind::internal, "no memory to pack");
    }
    Bytes out(::deflateBound(&stream, static_cast<uLong>(bytes.size())));
    stream.next_in = const_cast<Bytef*>(bytes.data());
    stream.avail_in = static_cast<uInt>(bytes.size());
    stream.next_out = out.data();
    stream.avail_out = static_cast<uInt>(out.size());
    const int status = ::deflate(&stream, Z_FINISH);
    out.resize(out.size() - stream.avail_out);
    ::deflateEnd(&stream);
    if (status != Z_STREAM_END) {
        return fail(FaultKind::internal, "packing failed");
    }
    return out;
}

}  // namespace agent
