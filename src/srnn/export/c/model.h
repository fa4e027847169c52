/* @NAME@: a spiking recurrent network, exported by srnn. C99, no heap, no global state.

@SUMMARY@
@NOTES@
   @NAME@_state state;                        one for each stream
   @NAME@_reset(&state);                      before the first step of a recording
   @NAME@_step(&state, x, scores);            once a step; scores: potentials of the last layer
   state.layer0.s[n]                          outputs of a layer after the step (spikes: 0, 1)

   Tables of constants: @TABLE_BYTES@ bytes. */

#ifndef @UPPER@_H
#define @UPPER@_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define @UPPER@_INPUTS @INPUTS@
#define @UPPER@_OUTPUTS @OUTPUTS@
#define @UPPER@_TABLE_BYTES @TABLE_BYTES@@MACROS@

typedef struct {
    @FIELDS@
} @NAME@_state;

void @NAME@_reset(@NAME@_state *state);
void @NAME@_step(@NAME@_state *state, const @INPUT_T@ x[@UPPER@_INPUTS],
                 @SCORE_T@ scores[@UPPER@_OUTPUTS]);

#ifdef __cplusplus
}
#endif

#endif
