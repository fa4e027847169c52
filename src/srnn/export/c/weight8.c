/* Weight i of a row, and how many entries of the table a row takes. */
static int32_t weight(const int8_t *w, int32_t i) { return w[i]; }

static int32_t stride(int32_t rows) { return rows; }
