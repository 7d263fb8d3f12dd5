#!/bin/bash
# What the cookbook pages have a person type on one node, in their order, until the server has answered a chat.
# Usage: cookbook_steps.sh amd|nvidia IMAGE MODEL [server flags…]
set -euo pipefail
vendor=$1 image=$2 model=$3
shift 3
models=/sgl-workspace/sglang/python/sglang/srt/models

docker pull --quiet "$image"
if [ "$vendor" = amd ]; then
  docker run -d -it --ipc=host --network=host --privileged --cap-add=CAP_SYS_ADMIN \
    --device=/dev/kfd --device=/dev/dri --device=/dev/mem --group-add video --cap-add=SYS_PTRACE \
    --security-opt seccomp=unconfined -v /:/work -e SHELL=/bin/bash --name Minimax "$image" /bin/bash
  docker exec Minimax mv $models/transformers.py $models/hf_transformers_model.py
  docker exec Minimax sed -i 's/@torch.compile(dynamic=True, backend=get_compiler_backend())/#&/' $models/minimax_m2.py
else
  docker run -d -it --gpus all --shm-size 32g --ipc=host --network=host \
    -v /root/.cache/huggingface:/root/.cache/huggingface --name Minimax "$image" /bin/bash
fi
docker exec -d Minimax python3 -m sglang.launch_server --model-path "$model" "$@"

until curl --silent --fail --output /dev/null http://127.0.0.1:30000/health; do sleep 1; done
curl --silent --fail http://127.0.0.1:30000/v1/chat/completions -H 'Content-Type: application/json' \
  -d "{\"model\": \"$model\", \"messages\": [{\"role\": \"user\", \"content\": \"Say hello in one short sentence.\"}]}"
