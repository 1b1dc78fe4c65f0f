"""Fine-tune an encoder: `python train.py peft=lora model=bert-base`; `--help` lists the choices."""

from finesweep.commands.train import train

if __name__ == "__main__":
    train()
