"""Tests of detector/: the network as exported computes what was trained, and the loss wants the right boxes."""

import copy
import unittest

try:
    import torch

    from detector import blocks, loss, rounding
    from detector.model import BINS, SIDE, Deployed, Detector, boxes_of, places
    from detector.objects import NAMES
except ImportError as error:
    raise unittest.SkipTest(f"{error}; `make detector` installs it") from error


def settled(module):
    """A module whose normalisation does something."""
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_(std=0.3)
            part.running_var.uniform_(0.5, 2)
            part.weight.data.uniform_(0.5, 1.5)
            part.bias.data.normal_(std=0.3)
    return module.eval()


class NetworkTest(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(3)

    def test_fused_parts_compute_the_same(self):
        for part in (blocks.RepConv(6, 8, 2), blocks.ConvNorm(8, 8, 5, 2, depthwise=True), blocks.Focus(8), blocks.Fuse(6, 8, 2)):
            part = settled(part)
            x = torch.randn(2, part.wide.conv.in_channels if isinstance(part, blocks.RepConv) else {"ConvNorm": 8, "Focus": 3, "Fuse": 6}[type(part).__name__], 16, 16)
            given = [x] if isinstance(part, blocks.Fuse) else x
            fused = part.fused() if hasattr(part, "fused") else blocks.fuse(copy.deepcopy(part))
            self.assertTrue(torch.allclose(part(given), fused(given), atol=1e-5))
            self.assertFalse([inner for inner in fused.modules() if isinstance(inner, torch.nn.BatchNorm2d)])

    def test_deployed_is_what_was_trained(self):
        detector = settled(Detector())
        images = torch.rand(2, 3, SIDE, SIDE) * 255
        with torch.no_grad():
            kinds, bins = detector(images)
            scores, boxes = Deployed(detector)(images)
        self.assertEqual((scores.shape, boxes.shape), ((2, 2100, len(NAMES)), (2, 2100, 4)))
        self.assertTrue(torch.allclose(scores, kinds.sigmoid(), atol=1e-5))
        self.assertTrue(torch.allclose(boxes, boxes_of(bins, *places()), atol=1e-2))

    def test_size(self):
        count = sum(weight.numel() for weight in Deployed(Detector()).parameters())
        self.assertTrue(300_000 < count < 1_000_000)

    def test_places_go_row_by_row_without_half_a_cell(self):
        points, strides = places()
        self.assertEqual(points[[0, 1, 40, 1600, 1601, 2099]].tolist(), [[0, 0], [8, 0], [0, 8], [0, 0], [16, 0], [288, 288]])
        self.assertEqual(strides[[0, 1599, 1600, 2099], 0].tolist(), [8, 8, 16, 32])


class RoundingTest(unittest.TestCase):
    def test_values_move_to_255_steps_and_gradients_pass(self):
        x = torch.linspace(-1, 2, 4001, requires_grad=True)
        y = rounding.rounded(x)
        steps = y.detach() / (2 / 127)
        self.assertLess(float((steps - steps.round()).abs().max()), 1e-4)
        self.assertLessEqual(float((y - x).detach().abs().max()), 1 / 127 + 1e-6)
        (y * 3).sum().backward()
        self.assertTrue(torch.equal(x.grad, torch.full_like(x, 3)))
        self.assertTrue(torch.equal(rounding.rounded(torch.zeros(4)), torch.zeros(4)))

    def test_convolutions_round_when_wanted_and_copies_made_before_do_not(self):
        torch.manual_seed(3)
        network = settled(blocks.Fuse(6, 8, 1))
        plain, wanted = copy.deepcopy(network), []
        rounding.round_inputs(network, lambda: bool(wanted))
        x = [torch.randn(2, 6, 16, 16)]
        self.assertTrue(torch.equal(network(x), plain(x)))
        wanted.append(True)
        difference = (network(x) - plain(x)).abs().max() / plain(x).abs().max()
        self.assertTrue(0 < difference < 0.1)


class LossTest(unittest.TestCase):
    def setUp(self):
        self.points, self.strides = places()
        self.boxes = torch.full((1, 3, 4), 0.0)
        self.kinds = torch.full((1, 3), -1)
        self.boxes[0, 0], self.kinds[0, 0] = torch.tensor([40.0, 40, 88, 88]), 2

    def logits(self, distance):
        """Every place says `distance` cells on each side, and kind 2."""
        bins = torch.full((1, len(self.points), 4, BINS), -30.0)
        bins[..., distance] = 30
        kinds = torch.full((1, len(self.points), len(NAMES)), -8.0)
        kinds[..., 2] = 0
        return kinds, bins

    def test_places_of_the_best_overlap_answer(self):
        kinds, bins = self.logits(3)
        boxes = boxes_of(bins, self.points, self.strides)
        positive, which, target = loss.assign(kinds.sigmoid(), boxes, self.points, self.boxes, self.kinds)
        self.assertEqual(int(positive.sum()), loss.CANDIDATES)
        self.assertEqual(which[positive].unique().tolist(), [0])
        best = int(target[0].argmax())
        # 3 cells of 8 pixels around (64, 64) are exactly the box.
        self.assertEqual((self.points[best].tolist(), self.strides[best].item()), ([64, 64], 8))
        self.assertAlmostEqual(target.max().item(), 1, 4)

    def test_the_right_box_costs_less(self):
        def cost(distance):
            return loss.loss(*self.logits(distance), self.points, self.strides, self.boxes, self.kinds)[1]

        self.assertLess(cost(3)[1], cost(1)[1])
        self.assertLess(cost(3)[2], cost(1)[2])

    def test_nothing_to_find_costs_only_false_alarms(self):
        self.kinds[:] = -1
        whole, parts = loss.loss(*self.logits(3), self.points, self.strides, self.boxes, self.kinds)
        self.assertTrue(torch.isfinite(whole))
        self.assertEqual(parts[1:].tolist(), [0, 0])

    def test_overlaps(self):
        first, second = torch.tensor([0.0, 0, 10, 10]), torch.tensor([20.0, 0, 30, 10])
        self.assertAlmostEqual(loss.overlaps(first, first)[1].item(), 1, 5)
        overlap, general = loss.overlaps(first, second)
        self.assertEqual(overlap.item(), 0)
        self.assertAlmostEqual(general.item(), -1 / 3, 5)

    def test_bins_beside_a_distance_share_it(self):
        bins = torch.full((1, 4, BINS), -30.0)
        bins[..., 2], bins[..., 3] = 0, 0
        self.assertAlmostEqual(loss.bin_cross_entropy(bins, torch.full((1, 4), 2.5)).item(), 0.6931, 3)
        self.assertGreater(loss.bin_cross_entropy(bins, torch.full((1, 4), 5.0)).item(), 20)


if __name__ == "__main__":
    unittest.main()
