"""When things happen: every latency of the core, once, for RTL, cycle model and docs.

The host's side of a board (`accel.rtl.host`) is no part of it: nothing counts on when a byte is taken there.

Numbers are clock cycles. PART alone is the time from what a part takes in to what it gives out; PART_WHAT is a cycle
on the way, counted from what the part takes in. What depends on the configuration is a function of it.

A pass goes through the core on one timeline. Its cycle 0 is its first token in the token stage; every other token
follows the lines from 0 on in its own time, and chain c is c cycles behind chain 0. For the configuration 16x16x2:

    -rows                           -16     the pass starts in the weight stage: address of its first weight word
    WEIGHT_ADDRESS                   -1     address of its last weight word, row 0's
    0                                 0     the token, the instruction and the tile of its pass
    WEIGHT_CODES                      2     row 0's weight codes at the level decoder, with the table of the pass
    ARRAY_WEIGHTS                     6     row 0's weight digits at the array
    IM2COL                            7     codes of m pixels at the array, which swaps its weights
    im2col_sums                      11     S, the sums of the codes over the rows
    sums_at                          27     partial sums of chain 0
    sums_at + ACCUMULATOR_ALIGNED    29     beta * S << beta_shift is added to them
    sums_at + ACCUMULATOR            32     new accumulators of chain 0, written back
    codes_at                         40     codes of chain 0
    drain                            47     codes of all chains at the activation memory
"""

__all__ = ["ACCUMULATOR", "ACCUMULATOR_ALIGNED", "ACCUMULATOR_RESULTS", "ACCUMULATOR_REUSE", "ACTIVATION_READ",
           "ACTIVATION_WRITE", "ARRAY_WEIGHTS", "ASK", "BLOCK_MEMORY", "BLOCK_MEMORY_WRITE", "CHUNK_QUEUE",
           "CORRECTION", "CORRECTION_PRODUCT", "CREDIT", "ELEMENT", "ELEMENT_HOP", "ELEMENT_PRODUCTS", "FETCH",
           "IM2COL", "IM2COL_INSIDE", "IM2COL_PIXELS", "IM2COL_PLACE", "IM2COL_READ", "IM2COL_WORDS", "LEVEL_DECODER",
           "LOGIT", "LOGIT_GROUP", "LOGIT_SHIFT", "LOGIT_SUM", "MULTIPLIER", "NEXT_PASS", "OFFER", "QUEUE_DEPTH",
           "QUEUE_FULL", "QUEUE_WAY", "RING_WRITE", "SDRAM_READ", "SDRAM_WORD", "SHIFT", "SLOT_FREE", "START",
           "STREAM_REGISTER", "TABLE", "TAPE_CHUNK", "TAPE_REQUEST", "TAPE_RESTART", "TAPE_SETTLED", "WEIGHT_ADDRESS",
           "WEIGHT_CODES", "array", "codes_at", "drain", "drained", "im2col_sums", "shortest_pass", "sums_at",
           "threshold_unit"]

# Parts of parts
BLOCK_MEMORY = 2                                    # read address to data
BLOCK_MEMORY_WRITE = 1                              # a word to an address that reads it
MULTIPLIER = 2                                      # operands to product
SHIFT = 2                                           # value to value << shift
STREAM_REGISTER = 1                                 # payload in to payload out

# Memories
ACTIVATION_WRITE = 1 + BLOCK_MEMORY_WRITE           # codes to an address that reads them
ACTIVATION_READ = BLOCK_MEMORY + 1                  # bank rows to words

# SDRAM, from a READ at the core's port
SDRAM_READ = 5                                      # its word at the port: a pad's register, CAS 3, a pad's register
SDRAM_WORD = SDRAM_READ + 1                         # and out of the controller

# im2col, from the token
IM2COL_PLACE = 1                                    # where its first pixel lies
IM2COL_READ = IM2COL_PLACE + 1                      # addresses of all banks; columns of m pixels
IM2COL_INSIDE = IM2COL_READ + 1                     # which pixels lie inside the picture
IM2COL_WORDS = IM2COL_READ + ACTIVATION_READ        # words of all banks
IM2COL_PIXELS = IM2COL_WORDS + 1                    # words of m pixels
IM2COL = IM2COL_PIXELS + 1                          # without what is outside and the dropped bits

# Weights, on the timeline of the core
TABLE = BLOCK_MEMORY + 1                            # first weight address of a pass to its table and those codes
LEVEL_DECODER = 1                                   # weight codes to digits
WEIGHT_ADDRESS = -1                                 # of row 0; row r's is r cycles earlier
WEIGHT_CODES = WEIGHT_ADDRESS + TABLE
ARRAY_WEIGHTS = IM2COL - 1                          # of row 0: the cycle before the swap

# A processing element, from its activations
ELEMENT_HOP = 1                                     # activations to the next chain, partial sums to the next row
ELEMENT_PRODUCTS = ELEMENT_HOP + MULTIPLIER         # all products in one
ELEMENT_FIELDS = ELEMENT_PRODUCTS + 1               # each by itself
ELEMENT = ELEMENT_FIELDS + 1                        # added to the partial sums

# The correction beta * S << beta_shift, from S
CORRECTION_PRODUCT = MULTIPLIER + 1                 # beta * S
CORRECTION = CORRECTION_PRODUCT + SHIFT

# An accumulator, from the partial sums
ACCUMULATOR_ALIGNED = max(SHIFT, BLOCK_MEMORY)      # shifted sums, their correction, old accumulators
ACCUMULATOR_OPERANDS = ACCUMULATOR_ALIGNED + 1      # corrected sums; old accumulators or 0
ACCUMULATOR_RESULTS = ACCUMULATOR_OPERANDS + 1      # sum and maximum of the two
ACCUMULATOR = ACCUMULATOR_RESULTS + 1               # new accumulators, written back
ACCUMULATOR_REUSE = ACCUMULATOR + BLOCK_MEMORY_WRITE    # an index to the same index again, at least

# The tape
ASK = 1                                             # a picture that would start to the restart of the SDRAM for it
QUEUE_WAY = 2                                       # from the queue's memory to the distributor, and back
CHUNK_QUEUE = 1 + BLOCK_MEMORY + QUEUE_WAY + 2      # a chunk committed to its first word on offer
QUEUE_DEPTH = BLOCK_MEMORY + 2 * QUEUE_WAY + 3      # words that are on offer, or on their way to be
QUEUE_FULL = QUEUE_DEPTH                            # a word taken to the queue full again
TAPE_REQUEST = 2                                    # a slot free, or a chunk asked for, to the next request
CREDIT = 4                                          # a unit of a ring free to the room that it makes
RING_WRITE = 1                                      # a word from the distributor to its ring, and its credit
SLOT_FREE = 2                                       # the last word of a chunk taken to its slot free
TAPE_SETTLED = 8                                    # cycles of full rings and chunks before the SDRAM's restart
TAPE_RESTART = 1                                    # the last of them to the restart
TAPE_CHUNK = 2 + CHUNK_QUEUE                        # last word of a chunk from the SDRAM to its first word on offer

# What follows the accumulators
THRESHOLD_STAGE = 2                                 # a threshold read, and compared
LOGIT_GROUP = 1                                     # accumulators of m pixels added
LOGIT_SUM = LOGIT_GROUP + 1                         # and in the logit
LOGIT_SHIFT = 1                                     # the sequencer's shift to the one of chain 0

# The sequencer
FETCH = BLOCK_MEMORY + 1                            # program address to the execution of its instruction
NEXT_PASS = 2                                       # a pass taken to the offer of the next one of its instruction
OFFER = 1                                           # weight words there to the offer of their pass
START = 1                                           # execution of an instruction to the first cycle of its work
LOGIT = BLOCK_MEMORY + 2 + 1                        # a logit to the next: two words of bias read, and added


def threshold_unit(a_bits):
    """Accumulator to code."""
    return THRESHOLD_STAGE * a_bits


def array(rows):
    """Activations to the partial sums of chain 0."""
    return (rows - 1) * ELEMENT_HOP + ELEMENT


def im2col_sums(rows):
    """Token to the sums over the rows of its activations: the activations and an adder tree."""
    return IM2COL + (rows - 1).bit_length()


def sums_at(config, chain=0):
    """Token to the partial sums of a chain."""
    return IM2COL + array(config.rows) + chain * ELEMENT_HOP


def codes_at(config, chain=0):
    """Token to its codes as they leave a chain's threshold units."""
    return sums_at(config, chain) + ACCUMULATOR + threshold_unit(config.a_bits)


def drain(config):
    """Token to its codes at the activation memory; its logits are summed before."""
    return codes_at(config, config.chains - 1)


def drained(config):
    """Token in the weight stage to the first cycle in which the sequencer takes all of its codes for written."""
    return config.rows + drain(config) + 1


def shortest_pass(config):
    """Cycles a pass takes at least: its weights have to get in, and its accumulators back into their memory."""
    return max(config.rows, ACCUMULATOR_REUSE)
