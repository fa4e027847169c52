/* Reads one step a line, @INPUTS@ numbers apart by blanks or commas, from standard input; an empty
   line starts a new recording. Prints for each step the class with the highest score, and the
   scores. What is read and printed are real numbers, whatever the model computes in.
   Anything else ends it: one message with the number of the line, exit code 2. */

#include "@NAME@.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLANKS " \t"

static char line[32 * @UPPER@_INPUTS + 64];

static void refuse(long number, const char *why) {
    fprintf(stderr, "line %ld: %s; expected %d numbers, or nothing\n", number, why, @UPPER@_INPUTS);
    exit(2);
}

/* Puts the next line into `line`, without its end; returns 0 where there is none. */
static int next(long number) {
    size_t length = 0;
    int c;
    while ((c = getchar()) != EOF && c != '\n') {
        if (length == sizeof line - 1) refuse(number, "too long");
        line[length++] = (char)c;
    }
    if (ferror(stdin)) refuse(number, "it cannot be read");
    if (c == EOF && length == 0) return 0;
    if (length > 0 && line[length - 1] == '\r') length--;
    line[length] = 0;
    if (strspn(line, "0123456789+-.eE," BLANKS) != length) refuse(number, "not only numbers");
    return 1;
}

static @INPUT_T@ given(double value) {
    @GIVEN@
}

static double shown(@SCORE_T@ score) {
    return @SHOWN@;
}

/* Reads the numbers of `line` into x, as many as fit; returns how many there are. */
static int numbers(long number, @INPUT_T@ *x) {
    int count = 0;
    char *at = line + strspn(line, BLANKS), *end;
    for (; *at; count++) {
        const double value = strtod(at, &end);
        if (end == at || (*end && !strchr("," BLANKS, *end))) refuse(number, "not only numbers");
        if (value > (double)FLT_MAX || value < -(double)FLT_MAX)
            refuse(number, "a number that no float holds");
        if (count < @UPPER@_INPUTS) x[count] = given(value);
        at = end + strspn(end, BLANKS);
        if (*at == ',') {
            at += 1 + strspn(at + 1, BLANKS);
            if (!*at) refuse(number, "no number after the last comma");
        }
    }
    return count;
}

int main(void) {
    @NAME@_state state;
    @NAME@_reset(&state);
    for (long number = 1; next(number); number++) {
        @INPUT_T@ x[@UPPER@_INPUTS];
        @SCORE_T@ scores[@UPPER@_OUTPUTS];
        const int count = numbers(number, x);
        int best = 0;
        if (count == 0) {
            @NAME@_reset(&state);
            continue;
        }
        if (count != @UPPER@_INPUTS) {
            fprintf(stderr, "line %ld: %d numbers; expected %d\n", number, count, @UPPER@_INPUTS);
            return 2;
        }
        @NAME@_step(&state, x, scores);
        for (int k = 0; k < @UPPER@_OUTPUTS; k++) {
            if (!isfinite(shown(scores[k]))) refuse(number, "a score that is not finite");
            if (scores[k] > scores[best]) best = k;
        }
        printf("%d", best);
        for (int k = 0; k < @UPPER@_OUTPUTS; k++) printf(" %.9g", shown(scores[k]));
        printf("\n");
    }
    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "standard output cannot be written\n");
        return 2;
    }
    return 0;
}
