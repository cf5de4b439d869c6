"""Folded nets: the same logits without batch-norm; the net they came from stays as it was."""
import pytest

torch = pytest.importorskip("torch")

from model.nets.specs import arch  # noqa: E402
from model.training.folded import folded  # noqa: E402
from model.training.network import BatchNorm, Network, Skip  # noqa: E402

pytestmark = pytest.mark.train


@pytest.mark.parametrize("name", ["resnet8", "vgg"])
def test_a_folded_net_has_the_same_logits(name):
    torch.manual_seed(1)
    net = Network(arch(name), 10).double().eval()
    for module in net.modules():
        if isinstance(module, BatchNorm):
            module.running_mean.normal_()
            module.running_var.uniform_(0.3, 3)
            module.weight.data.normal_()
            module.bias.data.normal_()
        elif isinstance(module, Skip):
            module.gain.data.normal_()
    images = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8)
    expected = net(images)
    small = folded(net)
    assert not any(isinstance(module, BatchNorm) for module in small.modules())
    torch.testing.assert_close(small(images), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(net(images), expected, rtol=0, atol=0)
    assert all(parameter.requires_grad for parameter in net.parameters())
