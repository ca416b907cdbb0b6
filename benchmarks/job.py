"""A sweep as it is done by hand: Hydra's basic launcher and a plain loop, one job a seed. Run by peers.py."""

import hydra
import torch
from omegaconf import DictConfig

from peer import loader, torch_network
from work import NETS

EPOCHS = 10


@hydra.main(version_base="1.3", config_path=None, config_name=None)
def main(config: DictConfig) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(int(config.seed))
    net = NETS["notes"]
    model, loss = torch_network(net), torch.nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    batches = loader(net)
    for _ in range(EPOCHS):
        for x, y in batches:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()


if __name__ == "__main__":
    main()
