/* @NAME@: written by srnn, see @NAME@.h. */

#include "@NAME@.h"

@HEADERS@

@TOP@

/* ── constants ── */

@TABLES@

/* ── layers ── */

@BODY@

void @NAME@_reset(@NAME@_state *state) {
    memset(state, 0, sizeof *state);@RESETS@
}

void @NAME@_step(@NAME@_state *state, const @INPUT_T@ x[@UPPER@_INPUTS],
                 @SCORE_T@ scores[@UPPER@_OUTPUTS]) {
    @CALLS@
}
