"""AIOps: answers in traditional Chinese count like those in simplified Chinese."""

from __future__ import annotations

import pytest

from l2s.tasks import aiops
from l2s.tasks.aiops.blind_answers import answered_item
from l2s.tasks.chinese import simplified

CAUSES = {
    "disk_full": (
        "磁碟已滿|磁碟空間不足|磁碟 {mount} 已滿|{mount} 空間已用盡|硬碟空間用完|檔案系統已滿|儲存空間不足|磁碟寫滿了"
    ),
    "memory_exhausted": "主機記憶體耗盡|記憶體不足|主機 {host} 記憶體已用盡|實體記憶體和交換空間都用完了",
    "certificate_expired": "憑證過期|{svc} 的憑證已過期|TLS 憑證已失效|憑證到期未更新",
    "dns_broken": "DNS 解析失敗|DNS 伺服器 {ip} 無回應|網域名稱解析失敗|解析器 {ip} 沒有回應",
    "pool_exhausted": "連線池已耗盡|連線池用盡，連線未歸還|資料庫連線池耗盡|連線洩漏導致連線池耗盡",
    "descriptors_exhausted": "檔案描述符已用盡|檔案描述元耗盡|開啟的檔案過多",
    "clock_wrong": "系統時鐘偏移|{host} 的時間不正確|NTP 同步失敗|時鐘不同步",
    "disk_failing": "硬碟 {disk} 損壞|磁碟 {disk} 故障|{disk} 有壞軌",
    "heap_leak": "{cls} 記憶體洩漏|Java 堆積記憶體耗盡|記憶體溢位，{cls} 未釋放",
    "deadlock": "兩個執行緒互相等待形成死結|執行緒死鎖|線程死鎖",
    "thread_pool_full": "執行緒池 {svc}-exec 已滿|執行緒池耗盡|線程池已滿",
    "upstream_down": "{svc} 已停止|上游服務 {svc} 當機|{svc} 連線被拒，服務未啟動|後端 {svc} 掛了",
    "upstream_slow": "{svc} 回應緩慢|{svc} 回應逾時|上游 {svc} 過載",
    "rate_limited": "{client} 的請求配額已用盡|請求過多被限流|{client} 超出速率限制",
    "bad_config": "ledger_url 設定錯誤|組態錯誤：ledger_url 指向 localhost",
    "cache_stampede": "大量快取鍵同時過期|快取同時失效|快取雪崩",
    "traffic_flood": "{ip} 的惡意請求",
    "schema_mismatch": "訊息格式變更|訊息結構不相容",
    "gc_pause": "GC 停頓時間過長|垃圾回收停頓",
    "image_missing": "映像檔 {svc}:{version} 不存在|找不到映像檔 {svc}:{version}|鏡像 {svc}:{version} 不存在",
    "memory_limit": "容器超過記憶體限制|容器記憶體超限",
    "cluster_capacity": "叢集 CPU 不足|沒有節點有足夠的 CPU|節點資源不足",
    "probe_wrong": "探針設定了錯誤的連接埠|存活探針的埠錯誤",
    "secret_missing": "{secret} 不存在|缺少 Secret {secret}|密鑰 {secret} 不存在|金鑰 {secret} 不存在",
    "volume_attached_elsewhere": "磁碟區仍掛載在 {node}|卷仍掛載在 {node}",
    "connection_limit": "{db} 的連線已耗盡|資料庫連線數達到上限|max_connections 已達上限",
    "index_missing": "{table} 的 {column} 沒有索引|缺少索引",
    "long_transaction": "工作階段 {spid} 持有鎖未提交|長交易持有鎖|交易未提交，阻塞其他工作階段",
    "replica_lag": "備庫 {host} 延遲|複寫延遲|從庫落後",
    "old_credentials": "{client} 仍使用舊密碼|{client} 使用舊憑證",
}
HEALTHY = [
    "沒有故障", "系統運作正常", "一切正常，沒有異常", "日誌正常", "無異常", "未發現任何問題", "沒有問題",
    "沒有發現任何故障",
    "日誌未顯示任何異常", "一切正常，並非故障", "沒有發現錯誤", "系統健康，如果磁碟已滿應該會看到錯誤",
]  # fmt: skip
DENIED = [
    "不是磁碟已滿，而是記憶體不足", "並非磁碟已滿", "沒有磁碟空間不足的問題", "磁碟並未滿", "排除磁碟已滿",
    "沒有看到磁碟已滿的跡象",
    "如果磁碟已滿，應該會看到寫入失敗", "磁碟已滿的可能性很低", "憑證過期而非磁碟已滿",
]  # fmt: skip
BESIDE = [
    "磁碟滿了，沒有發現記憶體不足",
    "是磁碟已滿而不是記憶體不足",
    "是磁碟已滿，並非 DNS 解析失敗",
    "排除憑證過期，磁碟已滿",
]


def names_the_cause(family: str, answer: str) -> bool:
    style = "syslog" if family == "healthy" else ""
    item, said = answered_item(family, "zh", answer, style)
    return aiops.grade(item, f"答案：{said}").status in ("correct", "partial")


@pytest.mark.parametrize("family", CAUSES)
def test_every_cause_is_recognised(family: str) -> None:
    assert [said for said in CAUSES[family].split("|") if not names_the_cause(family, said)] == []


def test_a_healthy_log_is_called_healthy() -> None:
    assert [said for said in HEALTHY if not names_the_cause("healthy", said)] == []
    assert not names_the_cause("healthy", "系統正常，但磁碟已滿")


def test_a_denied_cause_is_not_named() -> None:
    assert [said for said in DENIED if names_the_cause("disk_full", said)] == []
    assert [said for said in BESIDE if not names_the_cause("disk_full", said)] == []


def test_a_certificate_and_a_credential_share_a_word_and_stay_apart() -> None:
    assert not names_the_cause("old_credentials", "憑證過期")
    assert not names_the_cause("certificate_expired", "{client} 仍使用舊密碼")


def test_other_texts_stay_as_they_are() -> None:
    for text in ("The disk is full.", "磁盘已满，程序无法写入", "事务未提交，核心服务停止", "é ünï"):
        assert simplified(text) == text
