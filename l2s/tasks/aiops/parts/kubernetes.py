"""Faulty parts of a cluster, and their states."""

from __future__ import annotations

from l2s.tasks.aiops.parts.vocabulary import parts
from l2s.tasks.aiops.records import Phrases

PARTS: dict[str, Phrases] = {
    "image_missing": parts(
        "[image/tag/image tag/image version/version/{version}/{svc}:{version}/manifest] & [missing/not in the "
        "registry/not in registry/nonexistent/non-existent/not exist/not found/not be found/not be pulled/never "
        "publish/never push/never upload/not pushed/not push/not upload/not publish/unpublished/unpushed/absent/"
        "wrong/wrong tag/invalid/no such/typo/mistype/not built/never built/unavailable/not available/never release/"
        "bad/not there/nobody pushed/bogus]|[image/tag/version/{version}] ~ unknown|unknown [image/tag/version]|no "
        "[image/tag] ~ found|no & manifest & [tag/version/{version}/image]|registry & [not have/not know/lack/has no/"
        "without/no trace/never heard/never received/never got/not contain/not hold/not find/not carry] & [image/tag/"
        "version/{version}/{svc}:{version}/manifest/it/pods]|[image/tag/{version}/template/deployment] & registry & "
        "[not have/not know/lack/has no/not contain/not hold/cannot find/not carry]",
        "[镜像/标签/tag/版本/{version}] & [不存在/没有的/没有这个/没这个/未推送/没推/没有推/未发布/没发布/找不到/"
        "缺/写错/填错/错/无效/未构建/没构建/拉不到/拉不下/没有该/没上传/未上传/查无/不对]|仓库 & [没有/无/查无/没/"
        "不认识/不认/缺] & [镜像/tag/标签/版本/{version}/manifest/这个]|[tag/标签]~[没有/没了]",
    ),
    "memory_limit": parts(
        "[memory/RAM/memory use/memory usage/container memory/working set/{svc}/container] & [exceed/outgrew/outgrow/"
        "outgrown/too small/too low/too tight/exhaust/ran out/run out/use up/grant/more than allowed/all the memory/"
        "all of its memory/max out/at its limit/at the limit/hit its/hit the/reach its/reach the/reach limit/hit "
        "limit/at its ceiling/its ceiling/the ceiling/over its/over the/beyond/bump into/run into/up to its/up to the/"
        "cap/fill/full limit/not enough/too little] & [memory/limit/ceiling/cap/budget/allowance/grant/{size}Mi/"
        "ceiling {size}Mi]|[memory/RAM] & [exceed/outgrow/outgrew/outgrown/too small/too low/too tight/exhaust/ran "
        "out/run out/use up/allowed/max out/hit its/reach its/over its]|[working set/memory/{svc}/container] & [hit/"
        "reach/exceed/touch/bump/fill/up to] & [limit/ceiling/cap/budget]|[memory limit/memory cap/memory ceiling/"
        "memory budget] & [hit/reach/exceed/exceeded/low/small/tight/kill/touch]|[kill/killed/dies/died/terminate] & "
        "[{size}Mi/memory limit/memory ceiling/memory cap/memory]|[OOMKilled/OOM-killed/OOM killed/OOM kill]|"
        "container … OOM|OOM|{size}Mi & [too little/too small/too low/not enough/insufficient]",
        "[内存/memory/工作集/working set/limit/{size}Mi] & [超限/触顶/顶/超出/不足/不够/超过/超标/满/耗尽/用尽/用光/"
        "吃光/吃完/爆/达到/到限/达限/到上限/碰/撞/触/太小/过小/过低/太低/设低/设小/偏小/偏低/太紧]|[容器/Pod/{svc}] & "
        "[触顶/OOMKill/OOMKilled/OOM/吃满/爆内存/撑爆/超内存]|OOM",
    ),
    "cluster_capacity": parts(
        "[node/cluster/CPU/capacity/compute/resource/node group/node pool/CPU request] & [insufficient/not enough/no "
        "room/no capacity/too little/out of/ran out/run out/exhaust/lack/shortage/short of/no free/not fit/more than "
        "any/too large/too big/nowhere/anywhere/full/no spare/none has/no node/has room/scarce/saturate/too small/"
        "maxed out/at max/cannot grow/not grow/no headroom/bigger than/larger than/exceed/not satisfy/not be "
        "satisfied/unsatisfiable/not provide/not offer/none of the/not host/crowded/overcommit/left]|[scheduler/pod/"
        "{svc}] & [nowhere/no room/no node/not fit/nowhere to/not be placed/not be scheduled] |[no node/no nodes/none "
        "of the nodes/no worker/not one node] … [room/CPU/capacity/fit/fits/enough/free/satisfy/satisfies/host/take/"
        "accommodate]|[pod/{svc}/request] & [ask/want/request/need/demand] & [more CPU/too much CPU/more than any]",
        "[节点/集群/CPU/资源/容量/算力/余量] & [不足/不够/放不下/装不下/容不下/塞不下/耗尽/紧张/没有空闲/没空闲/"
        "没有足够/没足够/不满足/无法满足/满足不了/短缺/匮乏/满了/没有余量/没余量/调度不/排不上/过大/太大/超过任/"
        "大于任/都多/都大/高于/不能扩/扩不/无法扩/没法扩/到上限/达上限/到顶/最大规模/缺]|[没有/无/没]~[任何节点/"
        "节点]…[满足/容纳/放得下/可用/空闲/够/装得下/塞得下/能]|[没有/无/没]~节点|[CPU/资源/请求/申请/Pod] & "
        "[无法调度/没处/无处/比任何]",
    ),
    "probe_wrong": parts(
        "[probe/liveness/liveness probe/livenessProbe/health check/health probe] & <wrong>|[probe/liveness/liveness "
        "check/livenessProbe/health check] & [another port/different port/other port/wrong port/nobody listens/"
        "nothing listens/not listen/closed port/unused port/dead port/instead of]|[probe/liveness/liveness check/"
        "health check/check/kubelet] & [ask/knock/target/hit/dial/aim/call/query/check/point/probe/look/go to/use/"
        "test/port] & {port}|{port} & {port2} & [probe/liveness/check/kubelet]|port & [not match/mismatch/differ/"
        "wrong/disagree] & [probe/liveness/check/container]|port & [not serve/not open/not listen/not use] & [probe/"
        "liveness/check/kubelet]",
        "[探针/存活检查/健康检查/liveness/探活/livenessProbe/存活探测/端口] & <wrong>|[探针/存活检查/健康检查/"
        "liveness/探活/存活探测] & [打到/打错/问错/查错/探错/连错/没人监听/无人监听/错端口/没监听/未监听]|[探针/"
        "存活检查/健康检查/探活/存活探测/探] & {port}|[探针/探] & {port2}",
    ),
    "secret_missing": parts(
        "[secret/Secret/credentials/credential object/secret object/secret reference/creds/{secret}] & <missing>|[no/"
        "nobody/no one] & [secret/{secret}] & [name/called/create/exist/by that name/in prod]|no [secret/{secret}]|"
        "{secret} & [nobody/not in]|[secret/secrets] … not found|absent secret",
        "[Secret/密钥/密钥对象/凭据/secret/{secret}] & <missing>|[没有/没/无/缺] ~{secret}|{secret} & [没/无/缺/未]",
    ),
    "volume_attached_elsewhere": parts(
        "[volume/{volume}/disk/PV/PVC/persistent volume/attachment/VolumeAttachment/node/{node}/pvc] & [still attach/"
        "still bound/still mount/still hold/still holding/still held/still claim/still own/still has/still have/still "
        "keep/still use/still using/still in use/still lock/still sits/still on/not release/never release/not detach/"
        "never detach/without releasing/without letting/without detaching/letting it go/let go/attached elsewhere/"
        "held by/hold/holding/keep/own/has it/in use by/lock/stale/dangling/orphan/already attach/double attach/"
        "double attachment/stuck/attached to/with it attached/linger/remain/remains attached/cling/hang on/hangs on/"
        "pin/pinned to/remains bound to/left behind/leftover/left attached/not free/not let/in two places/twice]|"
        "still … [bound/attached/mounted/held/locked] … [to/on/by/at]",
        "[卷/{volume}/PV/PVC/磁盘/盘/挂载/附加] & [仍/还/没有释放/没释放/未释放/没放/不放/未放/未卸载/没卸载/没有卸载/"
        "没有分离/没分离/未分离/没从/未从/占用/占着/占住/被占/残留/重复挂载/多重挂载/二次挂载/无法二次挂载/"
        "无法重复挂载/不能二次挂载/被锁/锁住/未解绑/没解绑/没解除/攥/抓着/握着/拽着/卡在/绑在/挂在/没清理/未清理/没摘/"
        "没松/没脱离]|{node} & [没有释放/未释放/没释放/未卸载/没卸载/仍占用/还占/占着/攥/抓着/握着/没放]",
    ),
}
