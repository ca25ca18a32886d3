"""Dr. GRPO in one file: a tiny transformer learns to sort three digits, from rewards alone.

    python examples/dr_grpo.py                      about 10 seconds on a CPU

The prompt is `3 0 2 =`, the right completion `0 2 3 .`, and the reward the share of right places. Nothing is
demonstrated. Each step samples a group of completions per prompt, compares each with the mean of its group, and makes
what was better than its group likelier. Source: Liu et al., 2503.20783.

Shapes: P prompts, G completions of one prompt (the group), N = P * G rows, T tokens, V vocabulary.
Column t of every [N, T] tensor speaks about token t.
"""

import torch
from torch import Tensor, nn

NUM_DIGITS = 5  # tokens 0 to 4 are the digits
EQUALS, STOP = NUM_DIGITS, NUM_DIGITS + 1
VOCABULARY = NUM_DIGITS + 2

NUM_SYMBOLS = 3  # digits to sort
PROMPT_LENGTH = NUM_SYMBOLS + 1
MAX_COMPLETION_LENGTH = 6  # two more than needed, so that stopping must be learned too

PROMPTS_PER_STEP = 32
NUM_GENERATIONS = 8
UPDATES_PER_STEP = 2
LEARNING_RATE = 3e-3
EPSILON = 0.2


class Policy(nn.Module):
    """A causal transformer with one layer: tokens [N, T] -> logits [N, T, V] of the next token."""

    def __init__(self, width: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.places = nn.Embedding(PROMPT_LENGTH + MAX_COMPLETION_LENGTH, width)
        self.layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        hidden = self.tokens(tokens) + self.places(torch.arange(length))
        return self.head(self.layer(hidden, src_mask=future))


def make_prompts(generator: torch.Generator) -> Tensor:
    """Random prompts [P, PROMPT_LENGTH]."""
    symbols = torch.randint(NUM_DIGITS, (PROMPTS_PER_STEP, NUM_SYMBOLS), generator=generator)
    return torch.cat([symbols, torch.full((PROMPTS_PER_STEP, 1), EQUALS)], dim=1)


@torch.no_grad()
def sample(policy: Policy, prompts: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Tokens [N, T] of one completion per row, and the mask [N, T] of the tokens that the policy chose.

    The stop token is chosen, and so it is trained. What follows it is padding.
    """
    tokens, mask = prompts, torch.zeros_like(prompts, dtype=torch.bool)
    alive = torch.ones(len(prompts), 1, dtype=torch.bool)
    for _ in range(MAX_COMPLETION_LENGTH):
        probabilities = policy(tokens)[:, -1].softmax(-1)
        chosen = torch.multinomial(probabilities, 1, generator=generator)
        tokens = torch.cat([tokens, torch.where(alive, chosen, STOP)], dim=1)
        mask = torch.cat([mask, alive], dim=1)
        alive = alive & (chosen != STOP)
    return tokens, mask


def score(tokens: Tensor, mask: Tensor) -> Tensor:
    """Rewards [N]: the share of the answer's places, the stop included, that hold the right token."""
    symbols = tokens[:, :NUM_SYMBOLS].sort(dim=1).values
    answer = torch.cat([symbols, torch.full((len(tokens), 1), STOP)], dim=1)
    place = slice(PROMPT_LENGTH, PROMPT_LENGTH + NUM_SYMBOLS + 1)
    right = (tokens[:, place] == answer) & mask[:, place]
    return right.double().mean(dim=1)


def logprobs_of(policy: Policy, tokens: Tensor) -> Tensor:
    """Log-probabilities [N, T] of the tokens, given those before. The logits at t - 1 are about token t."""
    logprobs = policy(tokens[:, :-1]).log_softmax(-1)
    chosen = logprobs.gather(-1, tokens[:, 1:, None])[..., 0]
    return torch.cat([torch.zeros(len(tokens), 1), chosen], dim=1)  # nothing is said about the first token


def group_advantages(rewards: Tensor) -> Tensor:
    """A_i = R_i - mean of its group, [P, G] -> [P, G]. GRPO would also divide by the group's standard deviation."""
    return rewards - rewards.mean(dim=1, keepdim=True)


def dr_grpo_loss(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor, epsilon: float, max_length: int
) -> Tensor:
    """The scalar loss of rows [N, T] with one advantage each [N].

        w_t = exp(logp_t - old_t)
        l_t = -min(w_t A, clip(w_t, 1 - epsilon, 1 + epsilon) A)
        L   = sum of l_t over all chosen tokens / (N * max_length)

    The denominator is a constant. GRPO would divide each row by its own length, and so forgive long wrong answers.
    """
    # 20 is far beyond every bound: it only keeps exp, and with it the gradient, finite.
    ratio = (logprobs - old_logprobs).clamp(-20.0, 20.0).exp()
    advantages = advantages[:, None]
    per_token = -torch.minimum(ratio * advantages, ratio.clamp(1 - epsilon, 1 + epsilon) * advantages)
    return torch.where(mask, per_token, 0.0).sum() / (len(mask) * max_length)


def train_step(policy: Policy, optimizer: torch.optim.Optimizer, generator: torch.Generator) -> float:
    """One turn: sample, score, compare inside each group, update. The mean reward before the update."""
    prompts = make_prompts(generator).repeat_interleave(NUM_GENERATIONS, dim=0)
    tokens, mask = sample(policy, prompts, generator)
    rewards = score(tokens, mask)
    advantages = group_advantages(rewards.view(PROMPTS_PER_STEP, NUM_GENERATIONS)).flatten()
    old_logprobs = logprobs_of(policy, tokens).detach()

    # In the first update the ratio is 1, so it is REINFORCE with a baseline. In the next ones it says how far the
    # policy has moved away from the one that sampled, and the clip stops a token that has moved far enough.
    for _ in range(UPDATES_PER_STEP):
        logprobs = logprobs_of(policy, tokens)
        loss = dr_grpo_loss(logprobs, old_logprobs, advantages, mask, EPSILON, MAX_COMPLETION_LENGTH)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
    return rewards.mean().item()


def train(steps: int = 120, seed: int = 0) -> list[float]:
    """Trains a new policy and returns the mean reward of each step."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    policy = Policy()
    optimizer = torch.optim.Adam(policy.parameters(), lr=LEARNING_RATE)
    history = []
    for step in range(1, steps + 1):
        history.append(train_step(policy, optimizer, generator))
        if step == 1 or step % 20 == 0:
            print(f"step {step:3d}   reward {history[-1]:.3f}")
    return history


if __name__ == "__main__":
    torch.set_num_threads(1)  # tensors this small only lose time to more
    train()
