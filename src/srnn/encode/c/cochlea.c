/* From the movement of the basilar membrane to the spikes of bushy cells: hair cell, nerve fibres,
   bushy cell, channel by channel.

   The equations, and where they come from, are in ../cochlea.py, which computes the same, step by
   step in numpy, where there is no compiler. Compiled with -ffp-contract=off, so that both round
   alike. */

#include <stdint.h>
#include <stdlib.h>

typedef struct {
    double y, g, l, r, x, A, B, h; /* the hair cell's rates (per second) and levels */
    double dt;                     /* seconds of a sample */
    long dead;                     /* samples in which a fibre that has fired cannot fire again */
    /* of the bushy cell; refractory in samples */
    double decay_membrane, decay_synapse, weight, refractory;
    long fibres;
} ear;

/* A number in [0, 1) that depends on the arguments alone (splitmix64). */
static uint64_t mixed(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}
static double uniform(uint64_t channel, uint64_t step) {
    return (double)(mixed(channel + (step + 1) * 0x9e3779b97f4a7c15ull) >> 11) * 0x1p-53;
}

/* How many of n fibres fire, each with probability p: the first count whose cumulative probability
   exceeds u. */
static long binomial(long n, double p, double u) {
    const double q = 1.0 - p;
    if (p <= 0.0) return 0;
    if (q <= 0.0) return n;
    double chance = 1.0, power = q;
    for (long bits = n; bits; bits >>= 1) {
        if (bits & 1) chance = chance * power;
        power = power * power;
    }
    const double odds = p / q;
    double total = chance;
    long k = 0;
    while (u >= total && k < n) {
        chance = chance * ((double)(n - k) / (double)(k + 1) * odds);
        total = total + chance;
        k++;
    }
    return k;
}

/* membrane (channels, steps) -> probability of firing per sample (channels, steps), if not NULL,
   and spikes (channels, steps), if not NULL.

   Of a recording that comes in pieces, this one begins at sample `begin`; levels (channels, 6) and
   nerves (channels, dead + 1) hold what the piece before it left, and then what this one leaves
   (NULL: the whole recording; not read where begin is 0). That a bushy cell fired shows one sample
   later: in pieces, spikes[t] is that of sample begin + t - 1, and else spikes[t] that of sample
   t. */
int hear(const ear *e, const double *membrane, long channels, long steps, uint64_t seed, long first,
         double *probability, unsigned char *spikes,
         double *levels, long *nerves, long begin) {
    long *const own = nerves ? NULL : malloc((size_t)(e->dead + 1) * sizeof(long));
    if (!nerves && !own) return 1;
    for (long channel = 0; channel < channels; channel++) {
        const double *s = membrane + channel * steps;
        const uint64_t stream = mixed(mixed(seed) + (uint64_t)(first + channel));
        const double rest = e->g * e->A / (e->A + e->B);
        double c = e->y * rest / (e->l * rest + e->y * (e->l + e->r));
        double q = c * (e->l + e->r) / rest, w = c * e->r / e->x;
        double v = 0.0, current = 0.0, counter = 0.0;
        double *const level = levels ? levels + 6 * channel : NULL;
        long *const kept = nerves ? nerves + (e->dead + 1) * channel : own, busy = 0;
        unsigned char *const fired = spikes ? spikes + channel * steps + (nerves ? 0 : -1) : NULL;
        if (begin) {
            c = level[0], q = level[1], w = level[2];
            v = level[3], current = level[4], counter = level[5];
            busy = kept[e->dead];
        } else
            for (long i = 0; i < e->dead; i++) kept[i] = 0;
        for (long t = 0; t < steps; t++) {
            const double open = s[t] + e->A;
            const double k = open > 0.0 ? e->g * e->dt * open / (open + e->B) : 0.0;
            const double refill = q < 1.0 ? e->y * e->dt * (1.0 - q) : 0.0;
            const double eject = k * q, loss = (e->l + e->r) * e->dt * c;
            const double reuptake = e->r * e->dt * c, reprocessed = e->x * e->dt * w;
            q = q + refill - eject + reprocessed;
            c = c + eject - loss;
            w = w + reuptake - reprocessed;
            if (q < 0.0) q = 0.0;
            if (c < 0.0) c = 0.0;
            if (w < 0.0) w = 0.0;
            const double p = e->h * e->dt * c;
            if (probability) probability[channel * steps + t] = p;
            if (!spikes) continue;
            /* what fired `dead` samples ago may fire again */
            long *const oldest = kept + (begin + t) % e->dead;
            busy -= *oldest;
            *oldest = binomial(e->fibres - busy, p, uniform(stream, (uint64_t)(begin + t)));
            busy += *oldest;
            if (begin + t) {
                if (counter <= 0.0) {
                    if (v < 1.0) v = v * e->decay_membrane;
                    else {
                        v = 0.0;
                        counter = e->refractory;
                        fired[t] = 1;
                    }
                }
                current = current * e->decay_synapse;
            }
            current = current + (double)*oldest;
            if (counter <= 0.0) v = v + current * e->weight * e->dt;
            if (v > 1.0) v = 1.0;
            counter = counter - 1.0;
        }
        if (level) {
            level[0] = c, level[1] = q, level[2] = w;
            level[3] = v, level[4] = current, level[5] = counter;
            kept[e->dead] = busy;
        }
    }
    free(own);
    return 0;
}
