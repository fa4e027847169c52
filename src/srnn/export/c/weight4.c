/* Weight i of a row: two in a byte, the first one in the low half, in two's complement; and how many bytes a row takes. */
static int32_t weight(const uint8_t *w, int32_t i) {
    const int32_t v = w[i / 2] >> (i % 2 * 4) & 15;
    return v - (v & 8) * 2;
}

static int32_t stride(int32_t rows) { return (rows + 1) / 2; }
