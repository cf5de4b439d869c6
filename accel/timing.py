"""When things happen: every latency of the core, once, for RTL, cycle model and docs.

Numbers are clock cycles from a value to what is made of it. What depends on the configuration is a function of it.

    cycle, relative to a token in the token stage (chain c is c cycles later behind the array)
     0                                 token, fields of its pass
     IM2COL = 5                        the codes of m pixels enter the array, row r one cycle later each
     sums_at = IM2COL + array          partial sums leave chain 0
     sums_at + CORRECTION_LAG          beta * S added
     sums_at + ACCUMULATOR             new accumulators, written back
     drain                             codes at the activation memory, of the last chain

In the weight stage, `rows` cycles before the token stage, a pass starts, and the weight words are read.
"""

__all__ = ["ACCUMULATOR", "ACCUMULATOR_REUSE", "ACTIVATION_WRITE", "BLOCK_MEMORY", "CORRECTION_LAG", "ELEMENT", "FETCH",
           "IM2COL", "INSTRUCTION", "LEVEL_DECODER", "LOGIT", "LOGIT_SUM", "MULTIPLIER", "STREAM_REGISTER", "TABLE",
           "array", "drain", "im2col_sums", "shortest_pass", "sums_at", "threshold_unit"]

# Parts
BLOCK_MEMORY = 2            # read address to data
MULTIPLIER = 2              # operands to product
LEVEL_DECODER = 1           # weight codes to digits
ELEMENT = 5                 # a processing element's activations to its sums
IM2COL = 5                  # token to activations
ACCUMULATOR = 5             # partial sums to new accumulators
CORRECTION_LAG = 2          # partial sums to the correction that belongs to them
ACCUMULATOR_REUSE = 6       # an index of the accumulators to the same index again, at least
LOGIT_SUM = 2               # accumulators to the logits they are added to
ACTIVATION_WRITE = 2        # a word at the activation memory to a read of it
STREAM_REGISTER = 1
TABLE = BLOCK_MEMORY + 1    # first weight address of a pass to its level table

# The sequencer
FETCH = 3                   # program address to the execution of its instruction
INSTRUCTION = FETCH + 1     # from one instruction to the next
LOGIT = 5                   # a logit to the next one


def threshold_unit(a_bits):
    """Accumulator to code."""
    return 2 * a_bits


def array(rows):
    """Activations to the partial sums of chain 0."""
    return rows - 1 + ELEMENT


def im2col_sums(rows):
    """Token to the sums over the rows of its activations: the activations and an adder tree."""
    return IM2COL + (rows - 1).bit_length()


def sums_at(config):
    """Token to the partial sums of chain 0."""
    return IM2COL + array(config.rows)


def drain(config):
    """Token to its codes at the activation memory; its logits are summed before."""
    return sums_at(config) + config.chains - 1 + ACCUMULATOR + threshold_unit(config.a_bits)


def shortest_pass(config):
    """Cycles a pass takes at least: its weights have to get in, and its accumulators back into their memory."""
    return max(config.rows, ACCUMULATOR_REUSE)
