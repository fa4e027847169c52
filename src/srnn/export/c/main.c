/* Reads one step a line, @INPUTS@ numbers apart by blanks or commas, from standard input; an empty
   line starts a new recording. Prints for each step the class with the highest score, and the
   scores. What is read and printed are real numbers, whatever the model computes in. */

#include "@NAME@.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static char line[32 * @UPPER@_INPUTS + 64];

static @INPUT_T@ given(double value) {
    @GIVEN@
}

static double shown(@SCORE_T@ score) {
    return @SHOWN@;
}

int main(void) {
    @NAME@_state state;
    @NAME@_reset(&state);
    for (long number = 1; fgets(line, sizeof line, stdin); number++) {
        @INPUT_T@ x[@UPPER@_INPUTS];
        @SCORE_T@ scores[@UPPER@_OUTPUTS];
        int count = 0, best = 0;
        char *at = line, *end;
        for (;; at = end) {
            at += *at == ',';
            const double value = strtod(at, &end);
            if (end == at) break;
            if (count < @UPPER@_INPUTS) x[count] = given(value);
            count++;
        }
        if (count == 0) {
            @NAME@_reset(&state);
            continue;
        }
        if (count != @UPPER@_INPUTS) {
            fprintf(stderr, "line %ld: %d numbers; expected %d\n", number, count, @UPPER@_INPUTS);
            return 2;
        }
        @NAME@_step(&state, x, scores);
        for (int k = 1; k < @UPPER@_OUTPUTS; k++)
            if (scores[k] > scores[best]) best = k;
        printf("%d", best);
        for (int k = 0; k < @UPPER@_OUTPUTS; k++) printf(" %.9g", shown(scores[k]));
        printf("\n");
    }
    return 0;
}
