"""REINFORCE in one file: a tiny transformer learns to spell backwards, from rewards alone.

    python examples/reinforce.py                    about 5 seconds on a CPU

The prompt is `a d b =`, the right completion `b d a .`, and the reward the share of right places. Each step samples
one completion per prompt and raises the log-probability of its tokens by how much its reward exceeds the average
reward of the steps before. Source: Williams 1992, doi 10.1007/BF00992696.

Shapes: N rows, one prompt and one completion each; T tokens; V vocabulary.
Column t of every [N, T] tensor speaks about token t.
"""

import torch
from torch import Tensor, nn

NUM_LETTERS = 4  # tokens 0 to 3 are the letters
EQUALS, STOP = NUM_LETTERS, NUM_LETTERS + 1
VOCABULARY = NUM_LETTERS + 2

NUM_SYMBOLS = 3  # letters to reverse
PROMPT_LENGTH = NUM_SYMBOLS + 1
MAX_COMPLETION_LENGTH = 5  # one more than needed, so that stopping must be learned too

PROMPTS_PER_STEP = 256
LEARNING_RATE = 2e-3
BASELINE_DECAY = 0.9


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
    """Random prompts [N, PROMPT_LENGTH]."""
    letters = torch.randint(NUM_LETTERS, (PROMPTS_PER_STEP, NUM_SYMBOLS), generator=generator)
    return torch.cat([letters, torch.full((PROMPTS_PER_STEP, 1), EQUALS)], dim=1)


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
    backwards = tokens[:, :NUM_SYMBOLS].flip(1)
    answer = torch.cat([backwards, torch.full((len(tokens), 1), STOP)], dim=1)
    place = slice(PROMPT_LENGTH, PROMPT_LENGTH + NUM_SYMBOLS + 1)
    right = (tokens[:, place] == answer) & mask[:, place]
    return right.double().mean(dim=1)


def logprobs_of(policy: Policy, tokens: Tensor) -> Tensor:
    """Log-probabilities [N, T] of the tokens, given those before. The logits at t - 1 are about token t."""
    logprobs = policy(tokens[:, :-1]).log_softmax(-1)
    chosen = logprobs.gather(-1, tokens[:, 1:, None])[..., 0]
    return torch.cat([torch.zeros(len(tokens), 1), chosen], dim=1)  # nothing is said about the first token


def reinforce_loss(logprobs: Tensor, advantages: Tensor, mask: Tensor, max_length: int) -> Tensor:
    """The scalar loss of rows [N, T] with one advantage each [N].

        L = -sum over all chosen tokens of A * logp / (N * max_length)

    Its gradient estimates minus the gradient of the expected reward: E[R * grad log p(completion)]. A baseline that
    does not depend on the completion, such as a mean of the past, changes only how noisy the estimate is.
    """
    per_token = -advantages[:, None] * logprobs
    return torch.where(mask, per_token, 0.0).sum() / (len(mask) * max_length)


def train(steps: int = 100, seed: int = 0) -> list[float]:
    """Trains a new policy and returns the mean reward of each step."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    policy = Policy()
    optimizer = torch.optim.Adam(policy.parameters(), lr=LEARNING_RATE)
    history: list[float] = []
    baseline = 0.0
    for step in range(1, steps + 1):
        tokens, mask = sample(policy, make_prompts(generator), generator)
        rewards = score(tokens, mask)
        mean = rewards.mean().item()
        if step == 1:
            baseline = mean

        loss = reinforce_loss(logprobs_of(policy, tokens), rewards - baseline, mask, MAX_COMPLETION_LENGTH)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

        baseline = BASELINE_DECAY * baseline + (1 - BASELINE_DECAY) * mean
        history.append(mean)
        if step == 1 or step % 20 == 0:
            print(f"step {step:3d}   reward {mean:.3f}")
    return history


if __name__ == "__main__":
    torch.set_num_threads(1)  # tensors this small only lose time to more
    train()
