# SPDX-License-Identifier: MIT
# kubernetes.mk - images, and tests that need more than `make test` has.

.PHONY: images image-test

# docker, buildah or podman; IMAGE_BASE=mmdebstrap where no registry is.
images:
	@deploy/images/build

image-test:
	@deploy/local/setup build run test images
	@/usr/bin/python3 -B -m pytest -s -c deploy/test/pytest.ini \
	  deploy/test/check_images.py
