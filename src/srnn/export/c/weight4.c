/* Weight i of a row: two in a byte, the first one in the low half, in two's complement; and how many bytes a row takes. */
static int32_t weight(const uint8_t *w, int32_t i) { return ((w[i >> 1] >> ((i & 1) << 2) & 15) ^ 8) - 8; }

static int32_t stride(int32_t rows) { return (rows + 1) >> 1; }
