#include "filigree/filigree.h"
#include "runtime/config.h"

#if FIL_NO_CRC_TABLES
static const uint32_t nibble[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};

uint32_t fil_crc32c(uint32_t crc, const void *data, size_t bytes) {
  const uint8_t *p = data;
  crc = ~crc;
  while (bytes--) {
    crc ^= *p++;
    crc = crc >> 4 ^ nibble[crc & 15];
    crc = crc >> 4 ^ nibble[crc & 15];
  }
  return ~crc;
}
#else
/* CRC is linear, so each entry is the xor of the entries of its bits: the preprocessor computes
 * the eight tables of slicing-by-8 from eight constants each. */
#define BIT(i, b, c) ((i) >> (b) & 1 ? (c) : 0u)
#define R1(i, a, b, c, d, e, f, g, h)                                                              \
  (BIT(i, 0, a) ^ BIT(i, 1, b) ^ BIT(i, 2, c) ^ BIT(i, 3, d) ^ BIT(i, 4, e) ^ BIT(i, 5, f) ^       \
   BIT(i, 6, g) ^ BIT(i, 7, h))
#define R4(i, ...)                                                                                 \
  R1(i, __VA_ARGS__), R1((i) + 1, __VA_ARGS__), R1((i) + 2, __VA_ARGS__), R1((i) + 3, __VA_ARGS__)
#define R16(i, ...)                                                                                \
  R4(i, __VA_ARGS__), R4((i) + 4, __VA_ARGS__), R4((i) + 8, __VA_ARGS__), R4((i) + 12, __VA_ARGS__)
#define R64(i, ...)                                                                                \
  R16(i, __VA_ARGS__), R16((i) + 16, __VA_ARGS__), R16((i) + 32, __VA_ARGS__),                     \
      R16((i) + 48, __VA_ARGS__)
#define R256(...)                                                                                  \
  {R64(0, __VA_ARGS__), R64(64, __VA_ARGS__), R64(128, __VA_ARGS__), R64(192, __VA_ARGS__)}

static const uint32_t table[8][256] = {R256(0xf26b8303u, 0xe13b70f7u, 0xc79a971fu, 0x8ad958cfu,
                                            0x105ec76fu, 0x20bd8edeu, 0x417b1dbcu, 0x82f63b78u),
                                       R256(0x13a29877u, 0x274530eeu, 0x4e8a61dcu, 0x9d14c3b8u,
                                            0x3fc5f181u, 0x7f8be302u, 0xff17c604u, 0xfbc3faf9u),
                                       R256(0xa541927eu, 0x4f6f520du, 0x9edea41au, 0x38513ec5u,
                                            0x70a27d8au, 0xe144fb14u, 0xc76580d9u, 0x8b277743u),
                                       R256(0xdd45aab8u, 0xbf672381u, 0x7b2231f3u, 0xf64463e6u,
                                            0xe964b13du, 0xd725148bu, 0xaba65fe7u, 0x52a0c93fu),
                                       R256(0x38116facu, 0x7022df58u, 0xe045beb0u, 0xc5670b91u,
                                            0x8f2261d3u, 0x1ba8b557u, 0x37516aaeu, 0x6ea2d55cu),
                                       R256(0xef306b19u, 0xdb8ca0c3u, 0xb2f53777u, 0x6006181fu,
                                            0xc00c303eu, 0x85f4168du, 0x0e045bebu, 0x1c08b7d6u),
                                       R256(0x68032cc8u, 0xd0065990u, 0xa5e0c5d1u, 0x4e2dfd53u,
                                            0x9c5bfaa6u, 0x3d5b83bdu, 0x7ab7077au, 0xf56e0ef4u),
                                       R256(0x493c7d27u, 0x9278fa4eu, 0x211d826du, 0x423b04dau,
                                            0x847609b4u, 0x0d006599u, 0x1a00cb32u, 0x34019664u)};

uint32_t fil_crc32c(uint32_t crc, const void *data, size_t bytes) {
  const uint8_t *p = data;
  crc = ~crc;
  for (; bytes >= 8; bytes -= 8, p += 8) {
    uint32_t lo, hi;
    __builtin_memcpy(&lo, p, 4);
    __builtin_memcpy(&hi, p + 4, 4);
    lo ^= crc;
    crc = table[7][lo & 255] ^ table[6][lo >> 8 & 255] ^ table[5][lo >> 16 & 255] ^
          table[4][lo >> 24] ^ table[3][hi & 255] ^ table[2][hi >> 8 & 255] ^
          table[1][hi >> 16 & 255] ^ table[0][hi >> 24];
  }
  while (bytes--) crc = crc >> 8 ^ table[0][(crc ^ *p++) & 255];
  return ~crc;
}
#endif
